use http::StatusCode;
use ostia_core::{Notice, NoticeScope, StoreError};
use serde_json::{Value, json};

use super::asked::Asked;
use super::endpoints::unknown;
use crate::gateway::Gateway;
use crate::refusal::Refusal;

/// `GET /admin/maintenance`.
pub(super) async fn list(gateway: &Gateway) -> Result<Value, Refusal> {
    let notices = gateway
        .store()
        .notices()
        .await
        .map_err(|error| lost(&error))?;
    let now = gateway.clock().unix_micros();
    let data: Vec<Value> = notices
        .iter()
        .filter(|notice| !notice.scope.is_block())
        .map(|notice| described(notice, now))
        .collect();
    Ok(json!({"object": "list", "data": data}))
}

/// `PUT /admin/maintenance/{scope}`.
pub(super) async fn set(gateway: &Gateway, mut asked: Asked) -> Result<Value, Refusal> {
    let body = asked.json().await?;
    let notice = Notice {
        scope: known_scope(gateway, asked.capture())?,
        text: text(&body)?,
        begins_at: moment(&body, "from")?,
        ends_at: moment(&body, "until")?,
    };
    let now = gateway.clock().unix_micros();
    let begins = notice.begins_at.unwrap_or(now).max(now);
    if notice.ends_at.is_some_and(|ends| ends <= begins) {
        return Err(wrong(
            "until",
            "`until` must be later than `from` and than now.",
        ));
    }
    let done = gateway.store().set_notice(&notice).await;
    done.map_err(|error| lost(&error))?;
    Ok(described(&notice, now))
}

/// `DELETE /admin/maintenance/{scope}`.
pub(super) async fn clear(gateway: &Gateway, scope: &str) -> Result<Value, Refusal> {
    let cleared = gateway.store().clear_notice(&named(scope)).await;
    match cleared.map_err(|error| lost(&error))? {
        true => Ok(json!({"scope": scope, "cleared": true})),
        false => {
            let scope = scope.escape_debug();
            Err(unknown(&format!("Nothing was set for `{scope}`.")))
        }
    }
}

fn named(text: &str) -> NoticeScope {
    match text.strip_prefix("model:") {
        Some(model) => NoticeScope::Model(model.to_owned()),
        None if text == "all" => NoticeScope::All,
        None => NoticeScope::Cluster(text.to_owned()),
    }
}

/// A name that is not in the catalog is a typing mistake.
fn known_scope(gateway: &Gateway, text: &str) -> Result<NoticeScope, Refusal> {
    let (scope, live) = (named(text), gateway.live());
    let is_known = match &scope {
        NoticeScope::All | NoticeScope::Blocked(..) => true,
        NoticeScope::Cluster(name) => live.catalog.cluster(name).is_some(),
        NoticeScope::Model(name) => {
            let mut all = live.catalog.deployments().iter();
            all.any(|deployment| *deployment.model == **name)
        }
    };
    match is_known {
        true => Ok(scope),
        false => {
            let text = text.escape_debug();
            Err(unknown(&format!("There is no cluster or model `{text}`.")))
        }
    }
}

fn text(body: &Value) -> Result<String, Refusal> {
    let text = body
        .get("text")
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| wrong("text", "`text` must be what users are told."))?;
    Ok(text.to_owned())
}

/// Unix seconds.
fn moment(body: &Value, key: &'static str) -> Result<Option<i64>, Refusal> {
    let value = match body.get(key) {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value,
    };
    let micros = value
        .as_i64()
        .and_then(|seconds| seconds.checked_mul(1_000_000));
    match micros {
        Some(micros) => Ok(Some(micros)),
        None => Err(wrong(key, "Times must be whole Unix seconds.")),
    }
}

fn described(notice: &Notice, now: i64) -> Value {
    let scope = match &notice.scope {
        NoticeScope::Cluster(name) => name.clone(),
        other => other.to_string(),
    };
    let seconds = |micros: Option<i64>| micros.map(|micros| micros.div_euclid(1_000_000));
    json!({
        "scope": scope,
        "text": notice.text,
        "from": seconds(notice.begins_at),
        "until": seconds(notice.ends_at),
        "holds": notice.holds_at(now),
    })
}

fn wrong(param: &'static str, text: &'static str) -> Refusal {
    Refusal::client(StatusCode::BAD_REQUEST, "invalid_value", text).with_param(param)
}

fn lost(error: &StoreError) -> Refusal {
    let text = "The database does not answer; nothing is known to have changed.";
    let refusal = Refusal::gateway(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", text);
    refusal.with_detail(error.to_string())
}
