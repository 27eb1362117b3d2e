use super::*;

fn takes(hosts: &MediaHosts, url: &str, or_data: bool) -> bool {
    let instead = match or_data {
        true => Instead::Base64,
        false => Instead::Nothing,
    };
    takes_or(hosts, url, instead)
}

fn takes_or(hosts: &MediaHosts, url: &str, instead: Instead) -> bool {
    let text = RawString {
        inner: url.as_bytes(),
        escaped: true,
    };
    hosts.take(&Link::of(text, &mut [0; LONGEST]), instead)
}

fn is_public_url(url: &str) -> bool {
    takes(&MediaHosts::Public, url, false)
}

#[test]
fn public_names_and_addresses_pass() {
    for url in [
        "https://example.org/a.png?x=http://10.0.0.1/",
        "HTTPS:\\/\\/Example.ORG:8443#a@b",
        "http://example.org.",
        "http://example.org:",
        " https://example.org",
        "http://8.8.8.8/",
        "http://0x08080808",
        "http://[2606:4700::1111]/",
        "http://[::ffff:8.8.8.8]/",
        "http://172.32.0.1/",
        "http://100.128.0.1",
        "http://a_b.example.org/\\ud83e\\udd80",
        "data:image/png;base64,AAAA",
        "DATA:,x",
    ] {
        assert!(is_public_url(url), "{url}");
    }
}

#[test]
fn a_site_s_own_hosts_do_not_pass_in_any_spelling() {
    for url in [
        "http://169.254.169.254/latest/meta-data",
        "http://2852039166/",
        "http://0xa9fea9fe/",
        "http://0xA9.0xFE.0xA9.0xFE/",
        "http://0251.0376.0251.0376/",
        "http://169.254.43518/",
        "http://169.16689662",
        "http://169.254.169.254./",
        "http:\\/\\/169.254.169.254",
        "http://\\u0031\\u0036\\u0039.254.169.254/",
        "http://\u{ff11}\u{ff16}\u{ff19}.254.169.254/",
        "http://169\u{3002}254.169.254/",
        "http://127.0.0.1:8000/",
        "http://example.org:800000/",
        "http://nas.localdomain/",
        "http://wiki.intra/",
        "http://127.1/",
        "http://0/",
        "http://10.0.0.7",
        "http://172.16.0.1",
        "http://192.168.1.1",
        "http://168.63.129.16/machine",
        "http://kubernetes.default.svc/",
        "http://db.service.consul",
        "http://printer.LAN./",
        "http://wiki.corp",
        "http://100.64.0.1",
        "http://198.18.0.1",
        "http://224.0.0.1",
        "http://255.255.255.255",
        "http://[::1]/",
        "http://[::]/",
        "http://[::ffff:169.254.169.254]/",
        "http://[::ffff:a9fe:a9fe]/",
        "http://[::127.0.0.1]/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://[2002:a9fe:a9fe::]/",
        "http://[2001:0:a9fe:a9fe::]/",
        "http://[2001:db8::1]/",
        "http://[fe80::1%25eth0]/",
        "http://[fd00::1]/",
        "http://[ff02::1]/",
        "http://localhost/",
        "http://LOCALHOST.",
        "http://a.localhost",
        "http://intranet/",
        "http://printer.local",
        "http://metadata.google.internal./",
        "http://metadata.google.%69nternal/",
    ] {
        assert!(!is_public_url(url), "{url}");
    }
}

#[test]
fn what_two_programs_read_in_two_ways_does_not_pass() {
    let long = format!("http://{}example.org", "a.".repeat(300));
    for url in [
        "file:///etc/passwd",
        "FILE:/etc/passwd",
        "f\\u0069le:///etc/passwd",
        "ftp://example.org/",
        "gs://bucket/a",
        "http+unix://example.org/",
        "http://user@example.org/",
        "http://user:pass@example.org/",
        "http://example.org@10.0.0.1/",
        "http://example.org\\\\@10.0.0.1/",
        "http:\\\\\\\\10.0.0.1/",
        "http:/10.0.0.1/",
        "http:10.0.0.1",
        "http:///10.0.0.1/",
        "http://example.org:80:80/",
        "http://example.org:http/",
        "http://exam ple.org/",
        "http://exam\\tple.org/",
        "ht\\ntp://10.0.0.1/",
        "\\u0001file:///x",
        "http://example..org/",
        "http://",
        "http://[::1/",
        "http://[example.org]/",
        "http://256.256.256.256/",
        "http://1.2.3.4.5/",
        "http://09.0.0.1/",
        "http://example.0x7f",
        "http://b\u{fc}cher.example/",
        "//10.0.0.1/x",
        "/etc/passwd.png",
        "iVBORw0KGgo=",
        "",
        &long,
    ] {
        assert!(!is_public_url(url), "{url}");
    }
    for data in ["iVBORw0KGgo=", "/9j/4AAQ", "alloy"] {
        assert!(takes(&MediaHosts::Public, data, true), "{data}");
    }
    for url in [
        "file:///etc/passwd",
        "http://10.0.0.1/",
        "f\\tile:///x",
        "/srv/scans/a.png",
        "..\\\\a",
        "~ann/a",
    ] {
        assert!(!takes(&MediaHosts::Public, url, true), "{url}");
    }
    let text = "A text. It has sentences.";
    assert!(takes_or(&MediaHosts::Public, text, Instead::Text));
    assert!(!takes_or(
        &MediaHosts::Public,
        "http://10.0.0.1/",
        Instead::Text
    ));
}

#[test]
fn listed_hosts_pass_and_no_others() {
    let rules = ["cdn.example.org", "*.Media.example", "10.1.2.3", "::1"];
    let rules = rules.map(|rule| HostRule::parse(rule).unwrap());
    let listed = MediaHosts::Listed(rules.to_vec());
    for (url, passes) in [
        ("https://CDN.example.org/a", true),
        ("https://cdn.example.org.:444/a", true),
        ("https://a.b.media.example/", true),
        ("http://0x0a010203/", true),
        ("http://[::1]:80/", true),
        ("http://[::ffff:10.1.2.3]/", true),
        ("data:,x", true),
        ("https://media.example/", false),
        ("https://evilmedia.example/", false),
        ("https://acdn.example.org/", false),
        ("https://cdn.example.org.evil.org/", false),
        ("https://cdn.example.org@evil.org/", false),
        ("file://cdn.example.org/a", false),
        ("http://10.1.2.4/", false),
        ("https://example.org/", false),
    ] {
        assert_eq!(takes(&listed, url, false), passes, "{url}");
    }
    let none = MediaHosts::Listed(Vec::new());
    assert!(takes(&none, "data:,x", false));
    assert!(!takes(&none, "https://example.org/", false));
    let any = MediaHosts::Listed(vec![HostRule::Any]);
    assert!(takes(&any, "http://10.0.0.1/", false));
    assert!(!takes(&any, "file:///x", false));
    assert!(!takes(&any, "http://a@10.0.0.1/", false));
}

#[test]
fn rules_are_hosts() {
    for text in [
        "",
        "http://x.org",
        "x.org:80",
        "*.",
        "*.10.0.0.1",
        "a/b",
        "*x.org",
        "x..org",
        "a@b",
    ] {
        assert_eq!(HostRule::parse(text), None, "{text}");
    }
}
