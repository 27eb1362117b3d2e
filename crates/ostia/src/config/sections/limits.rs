use std::collections::BTreeMap;
use std::time::Duration;

use ostia_core::Identity;

use super::super::reader::{Reading, Section};
use super::super::units::duration;
use crate::settings::{Limits, OtherLimits, OwnLimit, OwnLimits, ReserveOutput, SharedLimits};

pub(super) fn read(root: &Section<'_>, reading: &Reading<'_>) -> Limits {
    let section = root.section(
        "limits",
        "Limits of a user and of an endpoint. Endpoints may set their own in their fixture.",
    );
    let shared = read_shared(&section, reading);
    let limits = Limits {
        everybody: OwnLimit::ALL.map(|limit| {
            let key = limit.key();
            section.number(key.name, key.usual, (0, key.most), key.meaning)
        }),
        tpm_model: section.number(
            "tpm_model",
            0,
            (0, u64::MAX),
            "Tokens per minute of one endpoint, for endpoints that do not set it; 0 means off. Beyond it 429 `tokens`.",
        ),
        default_output_tokens: section.number(
            "default_output_tokens",
            1024,
            (0, u64::MAX),
            "Output tokens reserved for each choice while fewer than 20 answers of the model are known, at most the request's own cap.",
        ),
        reserve_output: section.parse(
            "reserve_output",
            (ReserveOutput::Estimate, "\"estimate\""),
            "\"estimate\" or \"max_tokens\"",
            "How many tokens an output reserves: as many as 19 of 20 outputs of the model needed, at most the request's own cap; or that cap. Tokens used beyond it are a debt that is paid first; unused ones come back at once.",
            |text| match text {
                "estimate" => Ok(ReserveOutput::Estimate),
                "max_tokens" => Ok(ReserveOutput::MaxTokens),
                other => Err(format!("{other:?}")),
            },
        ),
        queue_timeout: section.duration_or_zero(
            "queue_timeout",
            Duration::from_secs(15),
            "How long a request waits for its turn if the shortage will pass: a place, a rate, tokens that come back. \"0\" refuses at once.",
        ),
        shared,
        others: OtherLimits {
            key: read_others(&section, "key", "One API key, by the id that `ostia key list` shows."),
            user: read_others(&section, "user", "One user, by a name for which a provider answers (`ada@lab.org`) or user id; `blocked` also heeds a username that somebody chose."),
            project: read_others(&section, "project", "Each user of a project."),
            group: read_others(&section, "group", "Each member of a group; of several groups, the largest applies."),
        },
    };
    section.finish();
    limits
}

/// The server that counts for all replicas; `None`: each process counts alone.
fn read_shared(section: &Section<'_>, reading: &Reading<'_>) -> Option<SharedLimits> {
    let url = section.secret(
        "shared",
        "`redis://[USER:PASSWORD@]HOST[:PORT][/DB]`, or `rediss://...` with TLS: limits, fair shares and requests in flight count over all replicas that name the same server (Redis 7 or Valkey, no Redis Cluster). \"\": each process counts alone.",
    );
    let timeout = section.duration(
        "shared_timeout",
        Duration::from_millis(50),
        "How long an admission waits for that server. If it does not answer, each replica enforces its part of every limit by itself.",
    );
    let ca_cert_path = section.optional_file(
        "shared_ca_cert_path",
        "PEM file of the authority that signed that server's certificate; by default the machine's own authorities.",
    );
    if url.expose().is_empty() {
        return None;
    }
    if !is_redis(url.expose()) {
        reading.fatal(
            "limits.shared",
            "must be redis://HOST or rediss://HOST, with [USER:PASSWORD@] before HOST and [:PORT][/DB] after it, or be \"\"",
        );
    }
    Some(SharedLimits {
        url,
        timeout,
        ca_cert_path,
    })
}

fn is_redis(url: &str) -> bool {
    let is_known = url.starts_with("redis://") || url.starts_with("rediss://");
    is_known && redis::parse_redis_url(url).is_some()
}

/// `[limits.user."NAME"]` and its like.
fn read_others(
    limits: &Section<'_>,
    kind: &'static str,
    meaning: &'static str,
) -> BTreeMap<String, OwnLimits> {
    let section = limits.section(
        kind,
        "Limits of single keys, users, projects and groups, as sections by name. If several set the same limit, the first of these applies: key, user, project, group.",
    );
    let named = section.into_sections(meaning);
    named
        .into_iter()
        .map(|(name, section)| {
            // Groups are compared in this form.
            let name = match kind {
                "group" => Identity::group(&name),
                _ => name,
            };
            (name, read_own(section))
        })
        .collect()
}

fn read_own(section: Section<'_>) -> OwnLimits {
    let own = OwnLimits {
        numbers: OwnLimit::ALL.map(|limit| {
            let key = limit.key();
            section.number_of(key.name, 0, key.most)
        }),
        queue_timeout: section.parse_of("queue_timeout", "a duration", duration),
        fair_share: section.number_of("fair_share", 1, 1_000),
        blocked: section.flag_of("blocked").unwrap_or(false),
        allow_external: section.flag_of("allow_external").unwrap_or(false),
    };
    section.finish();
    own
}
