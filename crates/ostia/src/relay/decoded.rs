use std::io::Read;

use http::{HeaderMap, header};

/// Undoes the content encodings of a short body. `None`: an unknown encoding, a damaged body, or more than `most` bytes.
///
/// The gateway asks for no encoding, but some servers compress everything they send.
pub(super) fn decoded(body: &[u8], headers: &HeaderMap, most: usize) -> Option<Vec<u8>> {
    let mut bytes = body.to_vec();
    for encoding in encodings(headers)?.iter().rev() {
        bytes = undo(encoding, &bytes, most)?;
    }
    Some(bytes)
}

/// In the order in which they were applied (RFC 9110 section 8.4).
fn encodings(headers: &HeaderMap) -> Option<Vec<String>> {
    let mut all = Vec::new();
    for value in headers.get_all(header::CONTENT_ENCODING) {
        let names = value.to_str().ok()?.split(',').map(str::trim);
        all.extend(names.filter(|name| !name.is_empty()).map(str::to_lowercase));
    }
    Some(all)
}

fn undo(encoding: &str, body: &[u8], most: usize) -> Option<Vec<u8>> {
    match encoding {
        "identity" => Some(body.to_vec()),
        "gzip" | "x-gzip" => whole(flate2::read::MultiGzDecoder::new(body), most),
        // Some servers leave out the zlib header that the standard demands.
        "deflate" => whole(flate2::read::ZlibDecoder::new(body), most)
            .or_else(|| whole(flate2::read::DeflateDecoder::new(body), most)),
        "br" => whole(brotli_decompressor::Decompressor::new(body, 4096), most),
        "zstd" => whole(ruzstd::decoding::StreamingDecoder::new(body).ok()?, most),
        _ => None,
    }
}

fn whole(decoder: impl Read, most: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    decoder
        .take(most as u64 + 1)
        .read_to_end(&mut bytes)
        .ok()
        .filter(|_| bytes.len() <= most)?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use http::{HeaderMap, HeaderValue, header};

    use super::decoded;

    const TEXT: &[u8] = br#"{"error":{"message":"too long"}}"#;
    const MOST: usize = 1_000;

    fn read(body: &[u8], encoding: &'static str) -> Option<Vec<u8>> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
        decoded(body, &headers, MOST)
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn every_encoding_of_the_registry_is_undone() {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(TEXT).unwrap();
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::default());
        raw.write_all(TEXT).unwrap();
        let zstd = ruzstd::encoding::compress_to_vec(
            TEXT,
            ruzstd::encoding::CompressionLevel::Uncompressed,
        );
        for (body, encoding) in [
            (gzip(TEXT), "gzip"),
            (gzip(TEXT), "X-GZip"),
            (gzip(&gzip(TEXT)), "gzip, gzip"),
            (zlib.finish().unwrap(), "deflate"),
            (raw.finish().unwrap(), "deflate"),
            (zstd, "zstd"),
            (stored_brotli(TEXT), "br"),
            (TEXT.to_vec(), "identity"),
        ] {
            assert_eq!(read(&body, encoding).as_deref(), Some(TEXT), "{encoding}");
        }
        assert_eq!(
            decoded(TEXT, &HeaderMap::new(), MOST).as_deref(),
            Some(TEXT)
        );
    }

    /// A stream with one meta-block that is not compressed (RFC 7932 section 9.2).
    fn stored_brotli(text: &[u8]) -> Vec<u8> {
        // WBITS = 16: `0`. ISLAST: `0`. MNIBBLES = 4: `00`. MLEN - 1 in 16 bits. ISUNCOMPRESSED: `1`. Then padding.
        let length = u32::try_from(text.len() - 1).unwrap();
        let bits = (length << 4) | (1 << 20);
        let mut stream = bits.to_le_bytes()[..3].to_vec();
        stream.extend_from_slice(text);
        // ISLAST and ISLASTEMPTY.
        stream.push(0b11);
        stream
    }

    #[test]
    fn what_is_damaged_unknown_or_too_large_has_no_text() {
        let bomb = gzip(&vec![b'x'; 10 * MOST]);
        let mut cut = gzip(TEXT);
        cut.truncate(cut.len() / 2);
        for (body, encoding) in [
            (bomb, "gzip"),
            (cut, "gzip"),
            (TEXT.to_vec(), "gzip"),
            (TEXT.to_vec(), "br"),
            (TEXT.to_vec(), "zstd"),
            (TEXT.to_vec(), "compress"),
        ] {
            assert_eq!(read(&body, encoding), None, "{encoding}");
        }
    }
}
