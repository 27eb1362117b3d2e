"""What is not checked against a real engine, and why. One place, for the runs and for the document.

usage: skips.py ENGINE direct|ostia   prints the names
"""
import sys

# What the gateway promises, but engines do differently or not at all: skipped only without the gateway.
GATEWAY_PROMISES = {
    "models.retrieve": "engines have no such route",
    "responses.unknown_previous": "engines answer 404, or know no stored responses",
    "errors": "engines have codes and words of their own, and accept much",
    "messages_api.errors": "the same, in Anthropic's words",
    "azure": "engines have none of Azure's paths",
    "raw.request_id": "not every engine sends an id",
}
# What no engine does on request: skipped on both sides.
ANYWHERE = {
    "faults": "engines do not fail on request; `scripts/demo-clients.sh` checks these",
}
# Each client names its checks differently.
FORCED_TOOLS = (
    "chat.tools_required", "chat.tools_required_stream", "responses.tools_required", "responses.tools_required_stream",
    "messages.tools_forced", "messages.tools_forced_stream", "messages.tools_required", "bind_tools_forced",
    "responses_tools_forced", "tools_required", "tools_required_stream", "tools_round_trip",
)
RESPONSES_JSON = (
    "responses.json_schema", "responses.json_schema_stream", "responses_structured", "responses.object",
)
MESSAGES_JSON = ("messages.json_schema", "messages.json_schema_stream")
# What one engine cannot do: skipped on both sides.
ENGINES: dict[str, dict[str, str]] = {
    "llama": dict.fromkeys(FORCED_TOOLS, "with this model's template llama-server forces no call")
    | dict.fromkeys(RESPONSES_JSON, "llama-server does not read `text.format`")
    | dict.fromkeys(MESSAGES_JSON, "llama-server does not read `output_config`")
    | {
        "responses.conversation": "llama-server wants more of an assistant's turn than the API does",
        "responses.stream_typed": "llama-server's events lack fields that the AI SDK insists on",
    },
    "vllm": {
        "messages.tools_required": "the AI SDK sends no `strict` there, and without it vLLM forces no valid arguments",
    },
}
# The same, if the gateway makes it work: skipped only without the gateway.
ENGINES_DIRECT: dict[str, dict[str, str]] = {
    "llama": {},
    "vllm": {
        "messages.x_api_key": "vLLM reads `Authorization` only",
        "messages_api": "LiteLLM sends `x-api-key` there, and vLLM reads `Authorization` only",
    },
}


def reasons(engine: str, side: str) -> dict[str, str]:
    both = ANYWHERE | ENGINES[engine]
    return both if side == "ostia" else both | GATEWAY_PROMISES | ENGINES_DIRECT[engine]


if __name__ == "__main__":
    print(*reasons(*sys.argv[1:]))
