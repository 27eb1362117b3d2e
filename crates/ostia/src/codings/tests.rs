use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use futures_util::FutureExt;
use http::HeaderValue;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::*;

const TEXT: &[u8] =
    br#"{"model":"m","messages":[{"role":"user","content":"hello hello hello hello"}]}"#;
/// The same, as other programs compress it.
const BROTLI: &str = "1b4d00709c07760c99065a58c0e9de6a913db6add526d73a2c5d7d53a4ec0d1c7222706c4902cd630c36e030f2c66\
                      5e1496a90e165f9436511e1c14d7c07";
const ZSTD: &str = "28b52ffd244e2d0200d4037b226d6f64656c223a226d222c226d65737361676573223a5b7b22726f6c65223a2275736572\
                    222c22636f6e74656e74223a2268656c6c6f20227d5d7d010099b94001b0fe216d";
/// Ten MiB of one letter, in a window of 4 MiB.
const BROTLI_BOMB: &str = "cbffff3ff825c2e2b14020f7fe2fffff3ff04b00c4611180eefd07";
/// The same letter in a window of 24 bits.
const BROTLI_24: &str = "5f9f86815f222c1e0b04b2fc0200";
const MOST: u64 = 1_000;

/// Counts what is held, up to a limit.
struct Room {
    limit: u64,
    peak: u64,
}

impl Memory for Room {
    fn hold(&mut self, bytes: u64) -> bool {
        self.peak = self.peak.max(bytes);
        bytes <= self.limit
    }
}

fn run(body: &[u8], names: &'static str, most: u64, limit: u64) -> (Result<Bytes, Fault>, u64) {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(names));
    let codings = codings_of(&headers).unwrap();
    let mut room = Room { limit, peak: 0 };
    let body = Bytes::copy_from_slice(body);
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let decoding = decode(body, &codings, most, &mut room, |_| {});
    (runtime.unwrap().block_on(decoding), room.peak)
}

fn plain(body: &[u8], names: &'static str) -> Result<Bytes, Fault> {
    run(body, names, MOST, u64::MAX).0
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zlib(text: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn raw(text: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    compress_to_vec(text, CompressionLevel::Fastest)
}

/// A gzip member with every optional part.
fn dressed_gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::GzBuilder::new()
        .extra(vec![1; 300])
        .filename("name")
        .comment("comment")
        .write(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// Each coding's own name and [`TEXT`] under it.
fn samples() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("gzip", gzip(TEXT)),
        ("deflate", zlib(TEXT)),
        ("deflate", raw(TEXT)),
        ("br", hex::decode(BROTLI).unwrap()),
        ("zstd", zstd(TEXT)),
        ("zstd", hex::decode(ZSTD).unwrap()),
    ]
}

#[test]
fn every_coding_is_undone() {
    for (name, body) in samples() {
        assert_eq!(plain(&body, name).as_deref(), Ok(TEXT), "{name}");
        assert_eq!(
            plain(&gzip(&body), name_then_gzip(name)).as_deref(),
            Ok(TEXT),
            "{name}"
        );
    }
    assert_eq!(plain(&dressed_gzip(TEXT), "X-GZip").as_deref(), Ok(TEXT));
    assert_eq!(plain(TEXT, " identity ,, ").as_deref(), Ok(TEXT));
    for empty in [gzip(b""), zlib(b""), raw(b"")] {
        let name = if empty[0] == 0x1f { "gzip" } else { "deflate" };
        assert_eq!(plain(&empty, name).as_deref(), Ok(&b""[..]));
    }
}

fn name_then_gzip(name: &str) -> &'static str {
    match name {
        "gzip" => "gzip, gzip",
        "deflate" => "deflate,GZIP",
        "br" => "br, identity, gzip",
        _ => "zstd, gzip",
    }
}

#[test]
fn members_and_frames_are_joined() {
    let twice = |body: Vec<u8>| [&body[..], &body].concat();
    let text = [TEXT, TEXT].concat();
    assert_eq!(plain(&twice(gzip(TEXT)), "gzip").as_deref(), Ok(&*text));
    let skippable = [&0x184D_2A53_u32.to_le_bytes()[..], &[3, 0, 0, 0, 1, 2, 3]].concat();
    let frames = [&hex::decode(ZSTD).unwrap()[..], &skippable, &zstd(TEXT)].concat();
    assert_eq!(plain(&frames, "zstd").as_deref(), Ok(&*text));
    assert!(matches!(plain(&skippable, "zstd"), Err(Fault::Damaged(_))));
}

#[test]
fn long_bodies_come_out_whole() {
    let text: Vec<u8> = (0..1_000_000_u32)
        .flat_map(|at| (at.wrapping_mul(at) / 7).to_le_bytes())
        .collect();
    let most = text.len() as u64;
    for (name, body) in [
        ("gzip", gzip(&text)),
        ("deflate", zlib(&text)),
        ("deflate", raw(&text)),
        ("zstd", zstd(&text)),
    ] {
        let (found, peak) = run(&body, name, most, u64::MAX);
        assert!(found.unwrap() == text, "{name}");
        let bound = body.len() as u64 + 2 * most + (12 << 20);
        assert!(peak <= bound, "{name}: {peak}");
    }
}

#[test]
fn what_is_cut_anywhere_or_goes_on_is_damaged() {
    for (name, body) in samples() {
        for end in 0..body.len() {
            let found = plain(&body[..end], name);
            assert!(
                matches!(found, Err(Fault::Damaged(_))),
                "{name} {end}: {found:?}"
            );
        }
        for more in [&b"\0"[..], b"{\"model\"", &[0; 300]] {
            let longer = [&body[..], more].concat();
            let found = plain(&longer, name);
            assert!(
                matches!(found, Err(Fault::Damaged(_))),
                "{name} {more:?}: {found:?}"
            );
        }
        let other = plain(TEXT, name);
        assert!(matches!(other, Err(Fault::Damaged(_))), "{name}: {other:?}");
    }
}

#[test]
fn sums_are_checked() {
    for (name, mut body) in [("gzip", gzip(TEXT)), ("zstd", hex::decode(ZSTD).unwrap())] {
        let at = body.len() - if name == "gzip" { 8 } else { 4 };
        body[at] ^= 1;
        let invalid = Err(Fault::Damaged(Damage::Invalid(name)));
        assert_eq!(plain(&body, name), invalid);
    }
}

#[test]
fn bombs_end_at_the_limit_wherever_they_are() {
    let zeros = vec![b'a'; 10 << 20];
    let bombs = [
        ("gzip", gzip(&zeros)),
        ("deflate", zlib(&zeros)),
        ("br", hex::decode(BROTLI_BOMB).unwrap()),
        ("zstd", zstd(&zeros)),
    ];
    for (name, body) in &bombs {
        let (found, peak) = run(body, name, 100_000, u64::MAX);
        assert_eq!(found, Err(Fault::TooLarge), "{name}");
        assert!(peak < 9 << 20, "{name}: {peak}");
        let (whole, _) = run(body, name, 10 << 20, u64::MAX);
        assert!(whole.unwrap() == zeros, "{name}");
    }
    // What lies between two codings is bounded as well: here 10 MiB that are not deflate at all.
    assert_eq!(plain(&gzip(&zeros), "deflate, gzip"), Err(Fault::TooLarge));
}

#[test]
fn windows_are_bounded_and_counted() {
    let wide = hex::decode(BROTLI_24).unwrap();
    assert_eq!(
        plain(&wide, "br"),
        Err(Fault::Damaged(Damage::Window("brotli")))
    );
    assert_eq!(
        plain(&[0x11, 0, 0], "br"),
        Err(Fault::Damaged(Damage::Window("brotli")))
    );
    for (name, body) in samples() {
        let (found, peak) = run(&body, name, MOST, u64::MAX);
        assert!(found.is_ok());
        assert_eq!(
            run(&body, name, MOST, peak).0.as_deref(),
            Ok(TEXT),
            "{name}"
        );
        assert_eq!(
            run(&body, name, MOST, peak - 1).0,
            Err(Fault::NoMemory),
            "{name}"
        );
    }
    let (_, peak) = run(&hex::decode(BROTLI_BOMB).unwrap(), "br", 10 << 20, u64::MAX);
    assert!(peak > (4 << 20) + (10 << 20), "{peak}");
}

#[test]
fn endless_members_of_nothing_do_not_hold_the_thread() {
    let nothing = gzip(b"").repeat(20_000);
    let codings = [Coding::Gzip];
    let mut room = Room {
        limit: u64::MAX,
        peak: 0,
    };
    let decoding = decode(nothing.clone().into(), &codings, MOST, &mut room, |_| {});
    assert!(decoding.now_or_never().is_none(), "it pauses");
    assert_eq!(plain(&nothing, "gzip").as_deref(), Ok(&b""[..]));
}

#[test]
fn unknown_codings_and_too_many_are_not_supported() {
    for (names, fine) in [
        ("compress", false),
        ("gzip, zst", false),
        ("gzip;q=1", false),
        ("aws-chunked", false),
        ("gzip,br,zstd,deflate", true),
        ("gzip,gzip,gzip,gzip,gzip", false),
    ] {
        let mut headers = HeaderMap::new();
        headers.append(
            header::CONTENT_ENCODING,
            HeaderValue::from_static("identity"),
        );
        headers.append(header::CONTENT_ENCODING, HeaderValue::from_static(names));
        assert_eq!(codings_of(&headers).is_ok(), fine, "{names}");
    }
}
