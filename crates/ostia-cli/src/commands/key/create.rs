use std::collections::BTreeMap;

use clap::{Args, ValueEnum};
use ostia::people::{KeyRequest, check_name, check_text, check_user, network};
use ostia_core::{KeyRights, Role};

use super::show;
use crate::arguments::Setup;
use crate::commands::desk;
use crate::failure::Failure;
use crate::span::Span;

#[derive(Debug, Args)]
pub struct Create {
    /// The user of the key: domain rules apply to the part after the @
    #[arg(long, value_name = "NAME@DOMAIN", value_parser = user)]
    user: String,
    /// A group of the key, as long as its user is a member; `*` gives it all of the user's groups; repeatable
    #[arg(long = "group", value_name = "ID", value_parser = text)]
    groups: Vec<String>,
    /// How long the key is valid [default: keys.default_age]
    #[arg(long, value_name = "30d")]
    expires: Option<Span>,
    /// What the key is for
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, value_parser = label)]
    label: String,
    /// A project to count the key's requests under, besides its user
    #[arg(long, value_name = "NAME", value_parser = name)]
    project: Option<String>,
    /// What the key may do on the admin listener
    #[arg(long, value_name = "ROLE", conflicts_with = "admin")]
    role: Option<RoleWord>,
    /// Let the key do everything on the admin listener, for 30 days at most
    #[arg(long)]
    admin: bool,
    /// A model that the key may use; repeatable [default: all that its user may use]
    #[arg(long = "model", value_name = "M", value_parser = text)]
    models: Vec<String>,
    /// A network that the key may be used from; repeatable [default: any]
    #[arg(long = "allow-ip", value_name = "CIDR", value_parser = address)]
    addresses: Vec<String>,
    /// Domains of the users for whom a front end with this key may act
    #[arg(long, value_name = "DOMAIN,...", value_delimiter = ',', value_parser = text)]
    on_behalf_of: Vec<String>,
    /// The class of all requests with the key; those of class batch wait behind everybody else's
    #[arg(long, value_name = "CLASS")]
    class: Option<ClassWord>,
    /// A limit of this key, by its name in [limits.key."ID"]; repeatable
    #[arg(long = "limit", value_name = "NAME=NUMBER", value_parser = limit)]
    limits: Vec<(String, u64)>,
    /// The key belongs to a program: the managers of its project vouch for it, and nobody has to sign in as its user
    #[arg(long, requires = "project")]
    service: bool,
    /// Print {"id","key","user","groups","project","expires_at"}
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RoleWord {
    /// Everything
    Admin,
    /// Drain, maintenance, reload
    Operator,
    /// Look up and disable a user, revoke a key
    Support,
    /// Usage sums without persons
    Reporter,
    /// Register engines
    Registrar,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ClassWord {
    Interactive,
    Batch,
}

impl Create {
    pub async fn run(&self, setup: &Setup) -> Result<(), Failure> {
        let desk = desk::open(setup).await?;
        show(&desk.create_key(self.asked()).await?, self.json)
    }

    fn asked(&self) -> KeyRequest {
        KeyRequest {
            user: self.user.clone(),
            groups: self.groups.clone(),
            label: self.label.clone(),
            project: self.project.clone().unwrap_or_default(),
            age: self.expires.map(Span::duration),
            rights: KeyRights {
                role: match self.admin {
                    true => Some(Role::Admin),
                    false => self.role.map(RoleWord::role),
                },
                models: self.models.clone(),
                addresses: self.addresses.clone(),
                batch: self.class == Some(ClassWord::Batch),
                limits: self.limits.iter().cloned().collect::<BTreeMap<_, _>>(),
                on_behalf_of: self.on_behalf_of.clone(),
                service: self.service,
            },
        }
    }
}

impl RoleWord {
    const fn role(self) -> Role {
        match self {
            Self::Admin => Role::Admin,
            Self::Operator => Role::Operator,
            Self::Support => Role::Support,
            Self::Reporter => Role::Reporter,
            Self::Registrar => Role::Registrar,
        }
    }
}

fn user(text: &str) -> Result<String, String> {
    check_user(text).map(|()| text.to_owned())
}

fn text(text: &str) -> Result<String, String> {
    check_text(text).map(|()| text.trim().to_owned())
}

fn name(text: &str) -> Result<String, String> {
    check_name(text).map(|()| text.to_owned())
}

fn address(text: &str) -> Result<String, String> {
    network(text).map(|network| network.to_string())
}

fn label(text: &str) -> Result<String, String> {
    if text.contains(char::is_control) {
        return Err("it contains a control character".to_owned());
    }
    Ok(text.to_owned())
}

fn limit(text: &str) -> Result<(String, u64), String> {
    let parts = text.split_once('=');
    let read = parts.and_then(|(name, number)| Some((name.to_owned(), number.parse().ok()?)));
    read.ok_or_else(|| "write NAME=NUMBER, such as tpm_user=60000".to_owned())
}

#[cfg(test)]
mod tests {
    use super::{limit, name, user};

    #[test]
    fn a_user_has_a_name_and_one_domain() {
        assert_eq!(user("ann@lab.org").as_deref(), Ok("ann@lab.org"));
        for wrong in ["", "ann", "@lab.org", "ann@", "a@b@c", "a b@c", "a@b\n"] {
            assert!(user(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_project_fits_its_column() {
        assert_eq!(name("fusion 2026").as_deref(), Ok("fusion 2026"));
        assert!(name(&"x".repeat(128)).is_ok());
        for wrong in ["", " ", "a\nb", &"x".repeat(129)] {
            assert!(name(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_limit_is_a_name_and_a_number() {
        assert_eq!(limit("tpm_user=7"), Ok(("tpm_user".to_owned(), 7)));
        for wrong in ["tpm_user", "tpm_user=", "tpm_user=-1", "=7x"] {
            assert!(limit(wrong).is_err(), "{wrong:?}");
        }
    }
}
