use clap::Args;
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::admin::ask;
use crate::arguments::Setup;
use crate::failure::Failure;
use crate::output::print;

#[derive(Debug, Args)]
pub struct Drain {
    /// The slug of an endpoint that should get no new requests; without it, the whole gateway shuts down
    endpoint: Option<String>,
}

#[derive(Debug, Args)]
pub struct Undrain {
    /// The slug of the endpoint
    endpoint: String,
}

impl Drain {
    pub fn run(&self, setup: &Setup) -> Result<(), Failure> {
        let Some(slug) = &self.endpoint else {
            let told = ask(setup, Method::POST, "/admin/drain", None)?;
            let seconds = |key: &str| told[key].as_f64().unwrap_or_default();
            return print(&format!(
                "the gateway is not ready any more, listens for {} s, answers {} running request(s) within {} s, and ends\n",
                seconds("grace_seconds"),
                told["requests"],
                seconds("limit_seconds"),
            ));
        };
        let told = of_endpoint(setup, slug, "drain")?;
        let in_flight = &told["in_flight"];
        print(&format!(
            "{slug} gets nothing new until `ostia undrain {slug}` or a restart; {in_flight} in flight\n"
        ))
    }
}

impl Undrain {
    pub fn run(&self, setup: &Setup) -> Result<(), Failure> {
        let slug = &self.endpoint;
        of_endpoint(setup, slug, "undrain")?;
        print(&format!("{slug} is used again\n"))
    }
}

fn of_endpoint(setup: &Setup, slug: &str, what: &str) -> Result<Value, Failure> {
    let segment = utf8_percent_encode(slug, NON_ALPHANUMERIC);
    let path = format!("/admin/endpoints/{segment}/{what}");
    ask(setup, Method::POST, &path, None)
}
