//! From the words of a story to parts of messages.

use callgate::proto::v1;

use crate::scenarios::story::{Covers, Use};

/// `user:ana`, `agent:helper`, `tool:notes/read`, `group:staff`.
pub fn entity(name: &str) -> Result<Option<v1::EntityRef>, String> {
    let unknown = || format!("`{name}` is not of the form `user:ana`");
    let (of_type, id) = name.split_once(':').ok_or_else(unknown)?;
    let of_type = match of_type {
        "user" => "Mcp::User",
        "agent" => "Mcp::Agent",
        "server" => "Mcp::Server",
        "tool" => "Mcp::Tool",
        "group" => "Mcp::Group",
        "task" => "Mcp::Task",
        "resource" => "Mcp::Resource",
        _ => return Err(unknown()),
    };
    Ok(Some(v1::EntityRef {
        r#type: of_type.to_owned(),
        id: id.to_owned(),
    }))
}

/// The same way back.
pub fn name(entity: &v1::EntityRef) -> String {
    let of_type = entity.r#type.trim_start_matches("Mcp::").to_lowercase();
    format!("{of_type}:{}", entity.id)
}

pub fn identity(unverified: bool) -> Option<v1::Identity> {
    Some(v1::Identity {
        method: "jwt".to_owned(),
        verified: !unverified,
    })
}

pub fn actor(name: &str) -> Result<Option<v1::Actor>, String> {
    Ok(Some(v1::Actor {
        entity: entity(name)?,
        identity: identity(false),
        claims: None,
    }))
}

pub fn access(name: &str) -> Result<i32, String> {
    let access = v1::AccessLevel::from_str_name(&format!("ACCESS_LEVEL_{}", name.to_uppercase()));
    let access = access.ok_or_else(|| format!("`{name}` is not read, write or admin"))?;
    Ok(access.into())
}

pub fn scope(covers: &Covers) -> Result<Option<v1::Scope>, String> {
    Ok(Some(v1::Scope {
        tools: covers.tools.clone(),
        servers: covers.servers.clone(),
        groups: covers.groups.clone(),
        targets: covers.targets.clone(),
        access: access(covers.access.as_deref().unwrap_or("read"))?,
    }))
}

/// What a tool of a task is for.
pub fn tool_use(it: &Use) -> v1::ToolUse {
    v1::ToolUse {
        tool: it.tool.clone(),
        targets: it.targets.clone(),
        max_calls: it.calls,
        any_target: it.any_target,
        arguments: it
            .arguments
            .iter()
            .map(|(argument, value)| v1::ArgumentValues {
                argument: argument.clone(),
                values_json: vec![value.to_string()],
            })
            .collect(),
        ..v1::ToolUse::default()
    }
}

/// Places that were named to read from, and to send to.
pub fn places(reads: &[String], sends: &[String]) -> Vec<v1::TaskPlace> {
    let named = |places: &[String], read: bool| {
        let places = places.iter().cloned();
        let place = |place| v1::TaskPlace {
            place,
            read,
            send: !read,
        };
        places.map(place).collect::<Vec<_>>()
    };
    [named(reads, true), named(sends, false)].concat()
}

/// A server and a tool.
pub fn tool(name: &str) -> Result<(String, String), String> {
    let both = name.split_once('/');
    let (server, tool) = both.ok_or_else(|| format!("`{name}` is not `<server>/<tool>`"))?;
    Ok((server.to_owned(), tool.to_owned()))
}

pub fn json(table: &toml::Table) -> Vec<u8> {
    serde_json::to_vec(table).expect("JSON")
}

pub fn fields(table: &toml::Table) -> Option<prost_types::Struct> {
    let fields = table.iter().map(|(key, item)| (key.clone(), value(item)));
    Some(prost_types::Struct {
        fields: fields.collect(),
    })
}

fn value(item: &toml::Value) -> prost_types::Value {
    use prost_types::value::Kind;
    let kind = match item {
        toml::Value::Boolean(it) => Kind::BoolValue(*it),
        toml::Value::Array(items) => Kind::ListValue(prost_types::ListValue {
            values: items.iter().map(value).collect(),
        }),
        toml::Value::Table(table) => Kind::StructValue(fields(table).unwrap_or_default()),
        toml::Value::String(text) => match entity(text) {
            // An attribute that names somebody, as Cedar's JSON form has it.
            Ok(Some(it)) => Kind::StructValue(escaped(it)),
            _ => Kind::StringValue(text.clone()),
        },
        other => Kind::StringValue(other.to_string()),
    };
    prost_types::Value { kind: Some(kind) }
}

fn escaped(entity: v1::EntityRef) -> prost_types::Struct {
    let text = |it: String| prost_types::Value {
        kind: Some(prost_types::value::Kind::StringValue(it)),
    };
    let named = [("type", text(entity.r#type)), ("id", text(entity.id))];
    let named = prost_types::Struct {
        fields: named.map(|(key, it)| (key.to_owned(), it)).into(),
    };
    let named = prost_types::Value {
        kind: Some(prost_types::value::Kind::StructValue(named)),
    };
    prost_types::Struct {
        fields: [("__entity".to_owned(), named)].into(),
    }
}
