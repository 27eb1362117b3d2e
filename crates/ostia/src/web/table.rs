use http::Method;

/// One page, or something that is done on one.
#[derive(Debug, Clone, Copy)]
pub struct PageEntry {
    pub method: &'static str,
    /// Behind the prefix under which the gateway is reached. `{name}` is one segment, percent-encoded.
    pub pattern: &'static str,
    pub page: Page,
    pub who: Who,
}

/// Who is shown a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Anybody,
    SignedIn,
    /// Whoever may ask the admin listener for the same; on the networks of operators only.
    Operators(Desk),
}

/// Which roles a page of operators is for, beside admins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Desk {
    Operations,
    Support,
    Reports,
    Audit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    Home,
    Asset,
    SignIn,
    SignInByKey,
    SignInOpen,
    Depart,
    Return,
    Enter,
    SignOut,
    Models,
    Keys,
    MakeKey,
    RotateKey,
    RevokeKey,
    Usage,
    UsageCsv,
    Errors,
    Start,
    Try,
    Terms,
    AcceptTerms,
    Status,
    Projects,
    Project,
    AddMember,
    RemoveMember,
    Now,
    Drain,
    Undrain,
    Report,
    ReportCsv,
    Requests,
    Request,
    People,
    Person,
    DisablePerson,
    EnablePerson,
    RevokePersonKeys,
    RevokePersonKey,
    Audit,
}

const SIGNED_IN: Who = Who::SignedIn;
const OPERATIONS: Who = Who::Operators(Desk::Operations);
const SUPPORT: Who = Who::Operators(Desk::Support);
const REPORTS: Who = Who::Operators(Desk::Reports);
const AUDIT: Who = Who::Operators(Desk::Audit);

/// In the order in which they are tried.
pub static PAGES: &[PageEntry] = &[
    get("/", Page::Home, Who::Anybody),
    get("/ui", Page::Home, Who::Anybody),
    get("/login", Page::SignIn, Who::Anybody),
    get("/ui/assets/{name}", Page::Asset, Who::Anybody),
    get("/ui/login", Page::SignIn, Who::Anybody),
    post("/ui/login/key", Page::SignInByKey, Who::Anybody),
    post("/ui/login/open", Page::SignInOpen, Who::Anybody),
    get("/ui/login/{door}", Page::Depart, Who::Anybody),
    get("/ui/back/{door}", Page::Return, Who::Anybody),
    get("/ui/enter", Page::Enter, Who::Anybody),
    post("/ui/logout", Page::SignOut, Who::Anybody),
    get("/ui/status", Page::Status, Who::Anybody),
    get("/ui/models", Page::Models, SIGNED_IN),
    get("/ui/keys", Page::Keys, SIGNED_IN),
    post("/ui/keys", Page::MakeKey, SIGNED_IN),
    post("/ui/keys/{id}/rotate", Page::RotateKey, SIGNED_IN),
    post("/ui/keys/{id}/revoke", Page::RevokeKey, SIGNED_IN),
    get("/ui/usage", Page::Usage, SIGNED_IN),
    get("/ui/usage.csv", Page::UsageCsv, SIGNED_IN),
    get("/ui/errors", Page::Errors, SIGNED_IN),
    get("/ui/start", Page::Start, SIGNED_IN),
    get("/ui/try", Page::Try, SIGNED_IN),
    get("/ui/terms", Page::Terms, SIGNED_IN),
    post("/ui/terms", Page::AcceptTerms, SIGNED_IN),
    get("/ui/projects", Page::Projects, SIGNED_IN),
    get("/ui/projects/{name}", Page::Project, SIGNED_IN),
    post("/ui/projects/{name}/add", Page::AddMember, SIGNED_IN),
    post("/ui/projects/{name}/remove", Page::RemoveMember, SIGNED_IN),
    get("/ui/now", Page::Now, OPERATIONS),
    post("/ui/now/{slug}/drain", Page::Drain, OPERATIONS),
    post("/ui/now/{slug}/undrain", Page::Undrain, OPERATIONS),
    get("/ui/report", Page::Report, REPORTS),
    get("/ui/report.csv", Page::ReportCsv, REPORTS),
    get("/ui/requests", Page::Requests, SUPPORT),
    get("/ui/requests/{id}", Page::Request, SUPPORT),
    get("/ui/people", Page::People, SUPPORT),
    get("/ui/people/{user}", Page::Person, SUPPORT),
    post("/ui/people/{user}/disable", Page::DisablePerson, SUPPORT),
    post("/ui/people/{user}/enable", Page::EnablePerson, SUPPORT),
    post(
        "/ui/people/{user}/revoke-keys",
        Page::RevokePersonKeys,
        SUPPORT,
    ),
    post(
        "/ui/people/{user}/keys/{id}/revoke",
        Page::RevokePersonKey,
        SUPPORT,
    ),
    get("/ui/audit", Page::Audit, AUDIT),
];

/// Why there is no page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    NoPage,
    OtherMethod(&'static str),
}

impl PageEntry {
    /// The page of a path, and the decoded segments that its placeholders stand for.
    pub fn find(method: &Method, path: &str) -> Result<(&'static Self, Vec<String>), Lost> {
        let asked = match method.as_str() {
            "HEAD" => "GET",
            other => other,
        };
        let path = match path.strip_suffix('/') {
            Some("") | None => path,
            Some(shorter) => shorter,
        };
        let mut lost = Lost::NoPage;
        for entry in PAGES {
            let Some(captures) = captures(entry.pattern, path) else {
                continue;
            };
            if entry.method == asked {
                return Ok((entry, captures));
            }
            lost = Lost::OtherMethod(entry.method);
        }
        Err(lost)
    }
}

fn captures(pattern: &str, path: &str) -> Option<Vec<String>> {
    let (mut parts, mut segments) = (pattern.split('/'), path.split('/'));
    let mut captures = Vec::new();
    loop {
        match (parts.next(), segments.next()) {
            (None, None) => return Some(captures),
            (Some(part), Some(segment)) if part.starts_with('{') && !segment.is_empty() => {
                let decoded = percent_encoding::percent_decode_str(segment).decode_utf8();
                captures.push(decoded.ok()?.into_owned());
            }
            (Some(part), Some(segment)) if part == segment => {}
            _ => return None,
        }
    }
}

const fn get(pattern: &'static str, page: Page, who: Who) -> PageEntry {
    PageEntry {
        method: "GET",
        pattern,
        page,
        who,
    }
}

const fn post(pattern: &'static str, page: Page, who: Who) -> PageEntry {
    PageEntry {
        method: "POST",
        ..get(pattern, page, who)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_is_found_by_its_own_method() {
        for entry in PAGES {
            let path: String = entry
                .pattern
                .split('/')
                .map(|part| if part.starts_with('{') { "a%2Fb" } else { part })
                .collect::<Vec<_>>()
                .join("/");
            let method: Method = entry.method.parse().unwrap();
            let (found, captures) = PageEntry::find(&method, &path).unwrap();
            assert_eq!(found.pattern, entry.pattern);
            assert!(captures.iter().all(|capture| capture == "a/b"));
            let other = PageEntry::find(&Method::DELETE, &path);
            assert!(matches!(other, Err(Lost::OtherMethod(_))), "{path}");
        }
        assert!(PageEntry::find(&Method::GET, "/ui/").is_ok());
        assert_eq!(
            PageEntry::find(&Method::GET, "/ui/no").err(),
            Some(Lost::NoPage)
        );
    }

    #[test]
    fn pages_are_read_by_get_and_changed_by_post() {
        for entry in PAGES {
            assert!(matches!(entry.method, "GET" | "POST"), "{}", entry.pattern);
        }
    }
}
