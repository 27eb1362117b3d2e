use std::fmt::Write as _;

use super::table::{ROUTES, RouteEntry, RouteKind};
use crate::dialect::Api;

/// The page loads nothing and runs no script. The hash is that of [`STYLE`].
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; \
     style-src 'sha256-EQ/Yc9y1cH9RgvVMQupBiuUhKwDpP4BTgv/KjvsVDiI='; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
    table{border-collapse:collapse;width:100%}\
    td,th{border-bottom:1px solid #8884;padding:.3rem .6rem;text-align:left;vertical-align:top}\
    code,pre{font:14px/1.5 ui-monospace,monospace}\
    pre{background:#8881;padding:1rem;overflow-x:auto}";

/// The page of routes: self-contained HTML.
pub fn page(base_path: &str) -> String {
    let mut rows = String::new();
    for entry in ROUTES
        .iter()
        .filter(|entry| !matches!(entry.kind, RouteKind::NotServed { .. }))
    {
        push_row(&mut rows, entry);
    }
    let mut apis = String::new();
    for api in Api::known() {
        let _ = write!(apis, "<code>{}</code> ", escaped(api.as_str()));
    }
    let base = escaped(base_path);
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Ostia</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head><body>\n\
         <h1>Ostia {version}</h1>\n\
         <p>An inference gateway with the OpenAI API: point a client's base URL at <code>{base}/v1</code> of this host \
         and use your key. Every path is there with and without <code>{base}</code>. \
         <a href=\"openapi.json\">openapi.json</a></p>\n\
         <pre>curl $HOST/v1/chat/completions -H \"Authorization: Bearer $KEY\" \\\n  \
         -d '{{\"model\": \"MODEL\", \"messages\": [{{\"role\": \"user\", \"content\": \"Hello\"}}]}}'</pre>\n\
         <h2>Routes</h2>\n<table><tr><th>Method</th><th>Path</th><th>What</th></tr>\n{rows}</table>\n\
         <h2>APIs</h2>\n<p>{apis}</p>\n<p>Which of them a cluster serves is in <code>/list-endpoints</code>.</p>\n\
         <h2>Errors</h2>\n<p>JSON: <code>error.message</code>, <code>type</code>, <code>param</code>, <code>code</code>. \
         Every answer has an <code>x-request-id</code>: name it when you ask for help.</p>\n</body></html>\n"
    )
}

fn push_row(rows: &mut String, entry: &RouteEntry) {
    let method = entry.methods.first().copied().unwrap_or_default();
    let open = if entry.open { " (no key needed)" } else { "" };
    let pattern = escaped(&entry.pattern.replace("{*", "{"));
    let summary = escaped(entry.summary);
    let _ = writeln!(
        rows,
        "<tr><td>{method}</td><td><code>{pattern}</code></td><td>{summary}{open}</td></tr>"
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use ring::digest;

    use super::{CONTENT_SECURITY_POLICY, STYLE, page};

    #[test]
    fn the_policy_lets_the_one_style_through() {
        let hash = STANDARD.encode(digest::digest(&digest::SHA256, STYLE.as_bytes()));
        let expected = format!("'sha256-{hash}'");
        assert!(CONTENT_SECURITY_POLICY.contains(&expected), "{expected}");
    }

    #[test]
    fn nothing_is_loaded_and_nothing_runs() {
        let page = page("/resource_server");
        for word in [
            "<script", "http://", "https://", "src=", "url(", "@import", " style=", "onload",
        ] {
            let found = page.to_lowercase().find(word);
            let shown = found.map(|at| &page[at..(at + 40).min(page.len())]);
            assert!(shown.is_none(), "{word}: {shown:?}");
        }
        assert!(page.contains("/{cluster}/{framework}/v1/models"));
    }

    #[test]
    fn a_base_path_cannot_write_html() {
        assert!(!page("/<b>\"x").contains("<b>"));
    }
}
