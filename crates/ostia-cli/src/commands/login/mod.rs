//! `ostia login`, `token`, `whoami`, `logout`: a person's own token, for `OPENAI_API_KEY=$(ostia token)`.

mod authority;
mod browser;
mod code;
mod device;
mod file;
mod loopback;
mod token;

use std::sync::Arc;

use clap::{Args, ValueEnum};
use ostia::identify::{Web, WebAnswer, WebRequest};
use ostia::live::IdentityWeb;
use ostia_core::{Clock as _, Secret, SystemClock};
use serde_json::Value;

use crate::commands::web::parse_private as parse;
use crate::failure::Failure;
use crate::output::{note, print};
use crate::runtime;

use authority::{Authority, Grant};
use file::{Saved, TokenFile};

pub use token::Token;

/// The gateway named at `ostia login`.
pub fn saved_url() -> Option<String> {
    let saved = TokenFile::find().ok()?.read().ok()??;
    Some(saved.url).filter(|url| !url.is_empty())
}

const GLOBUS: &str = "https://auth.globus.org";
/// The variable with which Globus's own clients use another address for Globus Auth.
const GLOBUS_VARIABLE: &str = "GLOBUS_SDK_SERVICE_URL_AUTH";

/// Options are remembered: the next `ostia login` needs none.
#[derive(Debug, Args)]
pub struct Login {
    /// Who signs people in: `globus`, or an issuer's URL
    #[arg(long, env = "OSTIA_LOGIN_ISSUER", value_name = "URL")]
    issuer: Option<String>,
    /// The id of this client at the issuer: a public client, without a secret
    #[arg(long, env = "OSTIA_LOGIN_CLIENT_ID", value_name = "ID")]
    client_id: Option<String>,
    /// Scopes to ask for, separated by spaces
    #[arg(long, env = "OSTIA_LOGIN_SCOPE", value_name = "SCOPES")]
    scope: Option<String>,
    /// A Globus policy that the session must meet, as named by the gateway's operators; repeatable
    #[arg(
        long = "policy",
        env = "OSTIA_LOGIN_POLICY",
        value_name = "ID",
        value_delimiter = ','
    )]
    policies: Vec<String>,
    /// The gateway, for `ostia whoami`
    #[arg(long, env = "OSTIA_URL", value_name = "URL")]
    url: Option<String>,
    /// How the browser's answer gets back to this command [default: what the issuer supports and this machine can do]
    #[arg(long)]
    way: Option<Way>,
    /// Sign in again even if the issuer remembers a session
    #[arg(long)]
    force: bool,
    /// Only print the address, without opening it in a browser
    #[arg(long)]
    no_browser: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Way {
    /// A browser on this machine
    Loopback,
    /// A browser on any machine: type a short code there
    Device,
    /// A browser on any machine: paste a long code here
    Code,
}

#[derive(Debug, Args)]
pub struct Whoami {
    /// The gateway [default: the one named at `ostia login`]
    #[arg(long, env = "OSTIA_URL", value_name = "URL")]
    url: Option<String>,
}

#[derive(Debug, Args)]
pub struct Logout {}

impl Login {
    pub fn run(&self) -> Result<(), Failure> {
        runtime::run(self.sign_in())
    }

    async fn sign_in(&self) -> Result<(), Failure> {
        let file = TokenFile::find()?;
        let _lock = file.lock()?;
        let before = file.read()?;
        let known = |given: &Option<String>, saved: fn(&Saved) -> &String, name: &str| {
            let saved = before.as_ref().map(saved).filter(|text| !text.is_empty());
            let found = given.as_ref().or(saved).cloned();
            found.ok_or_else(|| Failure::usage(format!("--{name} is needed the first time")))
        };
        let issuer = match known(&self.issuer, |saved| &saved.issuer, "issuer")? {
            name if name == "globus" => globus(),
            url => url,
        };
        let client_id = known(&self.client_id, |saved| &saved.client_id, "client-id")?;
        let scope = known(&self.scope, |saved| &saved.scope, "scope")
            .unwrap_or_else(|_| "openid profile email offline_access".to_owned());
        let url = known(&self.url, |saved| &saved.url, "url").unwrap_or_default();
        let given = match &*self.policies {
            [] => None,
            policies => Some(policies.join(",")),
        };
        let policies = known(&given, |saved| &saved.policies, "policy").unwrap_or_default();

        let web = web();
        let authority = Authority::discover(&*web, &issuer).await?;
        let ask = Grant {
            client_id: &client_id,
            scope: &scope,
            policies: &policies,
            force: self.force,
            browser: !self.no_browser,
        };
        let answer = match self.way(&authority)? {
            Way::Device => device::sign_in(&*web, &authority, &ask).await?,
            Way::Code => {
                // Globus shows the code on a page of its own instead of redirecting the browser.
                let page = format!("{issuer}/v2/web/auth-code");
                code::sign_in(&*web, &authority, &ask, &page).await?
            }
            Way::Loopback => loopback::sign_in(&*web, &authority, &ask).await?,
        };
        let mut saved = Saved {
            issuer,
            client_id,
            scope,
            policies,
            url,
            ..Saved::default()
        };
        saved.take(&answer, SystemClock.unix_micros())?;
        file.write(&saved)?;
        note("Signed in. `ostia token` prints a token for OPENAI_API_KEY.");
        Ok(())
    }

    fn way(&self, authority: &Authority) -> Result<Way, Failure> {
        let way = match self.way {
            Some(way) => way,
            None if authority.issuer == globus() => Way::Code,
            // Over ssh, the browser is on another machine.
            None if authority.device.is_some() && std::env::var_os("SSH_CONNECTION").is_some() => {
                Way::Device
            }
            None => Way::Loopback,
        };
        if way == Way::Code && authority.issuer != globus() {
            return Err(Failure::usage("--way code is for Globus only"));
        }
        Ok(way)
    }
}

impl Whoami {
    pub fn run(&self) -> Result<(), Failure> {
        runtime::run(self.ask())
    }

    async fn ask(&self) -> Result<(), Failure> {
        let file = TokenFile::find()?;
        let saved = token::current(&file).await?;
        let url = match &self.url {
            Some(url) => url.clone(),
            None if !saved.url.is_empty() => saved.url.clone(),
            None => return Err(Failure::usage("name the gateway with --url or OSTIA_URL")),
        };
        let address = parse(&format!("{}/whoami", url.trim_end_matches('/')))?;
        let bearer = Secret::new(format!("Bearer {}", saved.access_token.expose()));
        let answer = call(&*web(), WebRequest::get(address).authorized(bearer)).await?;
        let shown = json_of(&answer)?;
        if answer.status.is_success() {
            return print(&format!("{shown:#}\n"));
        }
        let message = shown["error"]["message"]
            .as_str()
            .unwrap_or("no reason given")
            .escape_debug();
        Err(Failure::other(format!(
            "the gateway answers {}: {message}",
            answer.status.as_u16()
        )))
    }
}

impl Logout {
    /// Removes the file first: whatever the issuer answers, nobody is signed in on this machine any longer.
    pub fn run(&self) -> Result<(), Failure> {
        runtime::run(async {
            let file = TokenFile::find()?;
            let _lock = file.lock()?;
            let Some(saved) = file.read()? else {
                note("Nobody is signed in.");
                return Ok(());
            };
            file.remove()?;
            if authority::revoke(&*web(), &saved).await.is_err() {
                note(
                    "Signed out here. The issuer could not be told, so its token is valid until it expires.",
                );
            } else {
                note("Signed out.");
            }
            Ok(())
        })
    }
}

/// The token of the person signed in, refreshed if necessary.
pub async fn saved_token() -> Result<Secret<String>, Failure> {
    let saved = token::current(&TokenFile::find()?).await?;
    Ok(saved.access_token)
}

fn globus() -> String {
    let address = std::env::var(GLOBUS_VARIABLE).unwrap_or_else(|_| GLOBUS.to_owned());
    address.trim_end_matches('/').to_owned()
}

fn web() -> Arc<dyn Web> {
    Arc::new(IdentityWeb::standalone(Arc::new(SystemClock)))
}

async fn call(web: &dyn Web, request: WebRequest) -> Result<WebAnswer, Failure> {
    let host = request.url.origin.host.clone();
    web.call(request)
        .await
        .map_err(|fault| Failure::other(format!("{host}: {fault}")))
}

fn json_of(answer: &WebAnswer) -> Result<Value, Failure> {
    serde_json::from_slice(&answer.body).map_err(|_| {
        let status = answer.status.as_u16();
        Failure::other(format!("the answer ({status}) is not JSON"))
    })
}
