use serde_json::{Map, Value, json};

use super::admin::{ADMIN_ROUTES, AdminKind, AdminRoute, Who};
use super::table::{ROUTES, RouteEntry, RouteKind};
use crate::dialect::Api;

/// The OpenAPI 3.1 document of [`ROUTES`] and [`ADMIN_ROUTES`]. It leaves out what is not served.
pub fn openapi(base_path: &str) -> Value {
    let mut paths = Map::new();
    for entry in ROUTES {
        match entry.kind {
            RouteKind::NotServed { .. } => {}
            RouteKind::Inference => {
                for api in Api::known() {
                    let path = entry.pattern.replace("{*api}", api.as_str());
                    paths.insert(path, json!({"post": inference(entry, &api)}));
                }
            }
            RouteKind::Stored => {
                let mut operations = json!({"get": listing(entry), "delete": listing(entry)});
                let id = format!("delete_{}", operation_id(entry.pattern));
                operations["delete"]["operationId"] = id.into();
                paths.insert(entry.pattern.to_owned(), operations);
            }
            RouteKind::Register => {
                paths.insert("/v1/register/{slug}".to_owned(), register(entry));
            }
            _ => {
                let path = entry.pattern.replace("{*", "{");
                paths.insert(path, json!({"get": listing(entry)}));
            }
        }
    }
    for route in ADMIN_ROUTES {
        let operations = paths.entry(route.pattern).or_insert_with(|| {
            json!({"servers": [{"url": "/", "description": "The admin listener, `server.admin_listen`"}]})
        });
        // The document itself is on both listeners.
        let method = route.method.to_ascii_lowercase();
        if operations.get(&method).is_none() {
            operations[method] = administration(route);
        }
    }
    let mut servers = vec![json!({"url": "/"})];
    if !base_path.is_empty() {
        servers.insert(0, json!({"url": base_path}));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Ostia",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "An inference gateway with the OpenAI API. What the models themselves take and give is in \
                            the reference of the API whose path is called; unknown fields reach the model's server.",
        },
        "servers": servers,
        "security": [{"bearer": []}, {"x-api-key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
            "schemas": {"Error": error_schema()},
            "responses": {"Error": {
                "description": "An error. Its code says what to do; Retry-After says when.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
            }},
        },
    })
}

fn listing(entry: &RouteEntry) -> Value {
    let kind = match entry.kind {
        RouteKind::Docs => "text/html",
        _ => "application/json",
    };
    let mut operation = json!({
        "summary": entry.summary,
        "operationId": operation_id(entry.pattern),
        "parameters": parameters(entry),
        "responses": {"200": {"description": "OK", "content": {kind: {}}}},
    });
    if entry.open {
        operation["security"] = json!([]);
    } else {
        operation["responses"]["default"] = json!({"$ref": "#/components/responses/Error"});
    }
    operation
}

/// The two calls of whoever runs an engine.
fn register(entry: &RouteEntry) -> Value {
    let seconds = |what: &str| json!({"type": "number", "minimum": 0, "description": what});
    let body = json!({
        "type": "object", "additionalProperties": false,
        "properties": {
            "url": {"type": "string", "description": "The engine's base URL; needed where `lease` is absent."},
            "lease": {"type": "string", "description": "The lease that is renewed."},
            "sequence": {"type": "integer", "description": "Larger than in the last call."},
            "state": {"enum": ["queued", "starting", "running", "draining"], "default": "running"},
            "ttl": {"type": "number", "minimum": 1, "maximum": 3600, "default": 60,
                    "description": "Seconds until the lease ends, unless it is renewed."},
            "until": seconds("Seconds from now until it drains by itself."),
            "starts_in": seconds("Seconds from now until the job is expected to start."),
            "max_in_flight": {"type": "integer", "minimum": 0, "default": 0, "description": "0: no limit."},
        },
    });
    let slug =
        json!({"name": "slug", "in": "path", "required": true, "schema": {"type": "string"}});
    let lease =
        json!({"name": "lease", "in": "query", "required": true, "schema": {"type": "string"}});
    let error = json!({"$ref": "#/components/responses/Error"});
    let tunnel = ["path", "max_in_flight"];
    let tunnel =
        tunnel.map(|name| json!({"name": name, "in": "query", "schema": {"type": "string"}}));
    json!({
        "get": {
            "summary": "Opens a tunnel: the caller answers requests on this connection from then on",
            "description": "Over HTTP/1.1 with `Upgrade: ostia-tunnel`. Behind the 101 the caller is an HTTP/2 server.",
            "operationId": "tunnel_v1_register_slug",
            "parameters": [slug, tunnel[0], tunnel[1]],
            "responses": {"101": {"description": "The tunnel is open"}, "default": error},
        },
        "put": {
            "summary": entry.summary,
            "description": "By a key with the role registrar, whose models name the endpoint and whose networks hold the engine.",
            "operationId": "v1_register_slug",
            "parameters": [slug],
            "requestBody": {"required": true, "content": {"application/json": {"schema": body}}},
            "responses": {
                "200": {"description": "Renewed", "content": {"application/json": {}}},
                "201": {"description": "A new lease", "content": {"application/json": {}}},
                "default": error,
            },
        },
        "delete": {
            "summary": entry.summary,
            "operationId": "delete_v1_register_slug",
            "parameters": [slug, lease],
            "responses": {"204": {"description": "Given back"}, "default": error},
        },
    })
}

fn administration(route: &AdminRoute) -> Value {
    let in_path = placeholders(route.pattern);
    let in_query = route
        .query
        .iter()
        .map(|name| json!({"name": name, "in": "query", "schema": {"type": "string"}}));
    let parameters: Vec<Value> = in_path.chain(in_query).collect();
    let kind = match route.kind {
        AdminKind::Metrics => "application/openmetrics-text",
        _ => "application/json",
    };
    let mut operation = json!({
        "tags": ["admin"],
        "summary": route.summary,
        "operationId": format!("{}_{}", route.method.to_ascii_lowercase(), operation_id(route.pattern)),
        "parameters": parameters,
        "responses": {"200": {"description": "OK", "content": {kind: {}}}},
    });
    match route.who {
        Who::Anybody => operation["security"] = json!([]),
        Who::Roles(_) | Who::Managers => {
            operation["responses"]["default"] = json!({"$ref": "#/components/responses/Error"});
        }
    }
    operation
}

fn inference(entry: &RouteEntry, api: &Api) -> Value {
    let required: &[&str] = if entry.names_model() { &[] } else { &["model"] };
    let schema = json!({
        "type": "object", "required": required, "additionalProperties": true,
        "properties": {"model": {"type": "string"}, "stream": {"type": "boolean", "default": false}},
    });
    let mut content = json!({"application/json": {"schema": schema}});
    if api.takes_forms() {
        content["multipart/form-data"] = json!({"schema": {
            "type": "object", "required": required, "additionalProperties": true,
            "properties": {"model": {"type": "string"}},
        }});
    }
    json!({
        "summary": format!("{}: {}", api.as_str(), entry.summary),
        "operationId": operation_id(&entry.pattern.replace("{*api}", api.as_str())),
        "parameters": parameters(entry),
        "requestBody": {"required": true, "content": content},
        "responses": {
            "200": {
                "description": "The model's response, as its server sent it; with `stream`, an event stream.",
                "content": {"application/json": {}, "text/event-stream": {}},
            },
            "default": {"$ref": "#/components/responses/Error"},
        },
    })
}

fn parameters(entry: &RouteEntry) -> Vec<Value> {
    let mut parameters: Vec<Value> = placeholders(entry.pattern).collect();
    let in_query = match entry.kind {
        RouteKind::ClusterModels => Some("model_id"),
        RouteKind::Inference if entry.names_model() => Some("api-version"),
        _ => None,
    };
    let in_query =
        in_query.map(|name| json!({"name": name, "in": "query", "schema": {"type": "string"}}));
    parameters.extend(in_query);
    parameters
}

fn placeholders(pattern: &'static str) -> impl Iterator<Item = Value> {
    pattern
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| name.trim_start_matches('*'))
        .filter(|name| *name != "api")
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
}

fn operation_id(pattern: &str) -> String {
    let words = pattern.split(|at: char| !at.is_ascii_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    match words.is_empty() {
        true => "home".to_owned(),
        false => words.join("_"),
    }
}

fn error_schema() -> Value {
    json!({
        "type": "object", "required": ["error"],
        "properties": {"error": {
            "type": "object", "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": "string"},
            },
        }},
    })
}
