use serde_json::{Value, json};

use crate::schema::smallest;

/// The demo task: the simulated model has an agent run this harmless command, then reports its output.
pub(crate) const COMMAND: &str = "echo Hello from the simulated model of ostia serve --demo";

/// The names of a tool's arguments that hold a command.
const COMMANDS: [&str; 3] = ["command", "cmd", "commands"];
/// Words in the names of tools that run commands.
const SHELLS: [&str; 5] = ["bash", "shell", "exec", "terminal", "command"];

/// The tool that runs shell commands, recognized by its name and schema, and the arguments to run [`COMMAND`].
pub(crate) fn shell<'a>(tools: impl Iterator<Item = &'a Value>) -> Option<(String, Value)> {
    let mut tools = tools.map(bare).filter(|tool| {
        let name = tool["name"].as_str().unwrap_or_default().to_lowercase();
        SHELLS.iter().any(|word| name.contains(word))
    });
    tools.find_map(|tool| {
        let arguments = arguments(schema_of(tool)?)?;
        Some((tool["name"].as_str()?.to_owned(), arguments))
    })
}

/// Chat wraps a tool in `function`; the other dialects do not.
pub(crate) fn bare(tool: &Value) -> &Value {
    tool.get("function").unwrap_or(tool)
}

/// The name of the schema differs too.
pub(crate) fn schema_of(tool: &Value) -> Option<&Value> {
    let names = ["parameters", "input_schema"];
    names.iter().find_map(|name| tool.get(*name))
}

/// The command as the schema wants it, and the smallest value of every other required argument.
fn arguments(schema: &Value) -> Option<Value> {
    let properties = schema["properties"].as_object()?;
    let key = COMMANDS.iter().find(|key| properties.contains_key(**key))?;
    let mut arguments = smallest(schema);
    if !arguments.is_object() {
        arguments = json!({});
    }
    // Every boolean is false.
    for (name, value) in arguments.as_object_mut().into_iter().flatten() {
        if properties
            .get(name)
            .is_some_and(|one| one["type"] == "boolean")
        {
            *value = false.into();
        }
    }
    arguments[*key] = match properties[*key]["type"] == "array" {
        true => json!(["bash", "-lc", COMMAND]),
        false => COMMAND.into(),
    };
    if properties.contains_key("description") {
        arguments["description"] = "Say hello".into();
    }
    Some(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shells_of_all_agents_are_known() {
        let text = json!({"type": "string"});
        for (tool, key, command) in [
            (
                json!({"type": "function", "function": {"name": "bash", "parameters":
                {"properties": {"command": text, "description": text}, "required": ["command", "description"]}}}),
                "command",
                json!(COMMAND),
            ),
            (
                json!({"name": "Bash", "input_schema": {"properties": {"command": text, "timeout": {"type": "number"}}}}),
                "command",
                json!(COMMAND),
            ),
            (
                json!({"type": "function", "name": "exec_command", "parameters": {"properties": {"cmd": text}}}),
                "cmd",
                json!(COMMAND),
            ),
            (
                json!({"type": "function", "name": "shell", "parameters": {"properties":
                {"command": {"type": "array", "items": text}}}}),
                "command",
                json!(["bash", "-lc", COMMAND]),
            ),
            (
                json!({"function": {"name": "run_shell_command", "parameters": {"type": "object", "properties":
                {"command": text, "is_background": {"type": "boolean"}}, "required": ["command", "is_background"]}}}),
                "command",
                json!(COMMAND),
            ),
        ] {
            let others = [
                json!({"name": "kill_shell", "parameters": {"properties": {"shell_id": text}}}),
                tool.clone(),
            ];
            let (name, arguments) = shell(others.iter()).unwrap();
            assert_eq!(bare(&tool)["name"], *name);
            assert_eq!(arguments[key], command, "{tool}");
            for demanded in schema_of(bare(&tool)).unwrap()["required"]
                .as_array()
                .into_iter()
                .flatten()
            {
                assert!(
                    !arguments[demanded.as_str().unwrap()].is_null(),
                    "{demanded}: {arguments}"
                );
            }
        }
        let weather =
            json!({"name": "get_weather", "parameters": {"properties": {"command": text}}});
        assert_eq!(shell([weather].iter()), None);
        assert_eq!(shell([json!({"type": "web_search"})].iter()), None);
    }
}
