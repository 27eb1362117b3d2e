"""Writes an Ostia configuration for two engines: clusters.json, endpoints.json, ostia.toml.

usage: fixtures.py DIR LISTEN_PORT ADMIN_PORT CHAT_PORT EMBED_PORT KEY_ENV_NAME FRAMEWORK
"""
import json
import sys
from pathlib import Path

CLUSTER = "real"
APIS = ["chat/completions", "completions", "embeddings", "responses", "messages", "messages/count_tokens"]


def endpoint(pk: int, model: str, port: str, key_env: str, framework: str) -> dict:
    return {
        "model": "resource_server_async.endpoint",
        "pk": pk,
        "fields": {
            "cluster": CLUSTER,
            "framework": framework,
            "model": model,
            "endpoint_slug": f"{CLUSTER}-{framework}-{model}",
            "endpoint_adapter": "resource_server_async.endpoints.direct_api.DirectAPIEndpoint",
            "config": {"api_url": f"http://127.0.0.1:{port}/v1", "api_key_env_name": key_env},
        },
    }


def main(folder: Path, listen: str, admin: str, chat: str, embed: str, key_env: str, framework: str) -> None:
    cluster = {
        "model": "resource_server_async.cluster",
        "pk": 1,
        "fields": {"cluster_name": CLUSTER, "frameworks": [framework], "openai_endpoints": APIS},
    }
    endpoints = [endpoint(1, "tiny", chat, key_env, framework), endpoint(2, "tiny-embed", embed, key_env, framework)]
    (folder / "clusters.json").write_text(json.dumps([cluster], indent=2))
    (folder / "endpoints.json").write_text(json.dumps(endpoints, indent=2))
    # Limits are off: the checks send 50 requests at once as one user.
    (folder / "ostia.toml").write_text(f"""
[server]
listen = "127.0.0.1:{listen}"
admin_listen = "127.0.0.1:{admin}"
[fixtures]
clusters = "clusters.json"
endpoints = "endpoints.json"
[store]
url = "sqlite://{folder}/ostia.db"
[limits]
requests_per_second_per_user = 0
tpm_model = 0
tpm_user = 0
""")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
