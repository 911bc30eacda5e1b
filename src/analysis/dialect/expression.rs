//! Cedar's JSON form of expressions: what one says, and how one is written.

use serde_json::{Value as Json, json};

/// The one operator of an expression with its operands.
pub fn single(expr: &Json) -> Option<(&str, &Json)> {
    let members = expr.as_object()?;
    let (operator, operands) = members.iter().next()?;
    (members.len() == 1).then_some((operator.as_str(), operands))
}

/// Whether it is the variable `principal`.
pub fn is_principal(expr: &Json) -> bool {
    single(expr) == Some(("Var", &json!("principal")))
}

/// A variable with the attributes read of it, one after the other.
pub fn attribute(expr: &Json) -> Option<(&str, Vec<&str>)> {
    match single(expr)? {
        ("Var", name) => Some((name.as_str()?, Vec::new())),
        (".", operands) => {
            let (variable, mut path) = attribute(operands.get("left")?)?;
            path.push(operands.get("attr")?.as_str()?);
            Some((variable, path))
        }
        _ => None,
    }
}

/// Where an expression reads `context.input`.
pub struct InputRead<'e> {
    /// The path within it.
    pub path: Vec<&'e str>,
    /// Whether it is only asked whether that is there.
    pub is_tested: bool,
}

/// Where an expression reads `context.input` or something within it, or asks whether that is there.
pub fn input_of_context(expr: &Json) -> Option<InputRead<'_>> {
    let tested = has(expr);
    let is_tested = tested.is_some();
    let (variable, mut path) = match tested {
        Some((variable, mut path, name)) => {
            path.push(name);
            (variable, path)
        }
        None => attribute(expr)?,
    };
    if variable != "context" || path.first() != Some(&"input") {
        return None;
    }
    path.remove(0);
    Some(InputRead { path, is_tested })
}

/// `x has name`: the variable that `x` begins with, the attributes read of it, and the name.
pub fn has(expr: &Json) -> Option<(&str, Vec<&str>, &str)> {
    let ("has", operands) = single(expr)? else {
        return None;
    };
    let (variable, path) = attribute(operands.get("left")?)?;
    Some((variable, path, operands.get("attr")?.as_str()?))
}

/// `principal.hasTag("tag")`.
pub fn has_tag(expr: &Json) -> Option<&str> {
    tag_of(expr, "hasTag")
}

/// `principal.getTag("tag")`.
pub fn get_tag(expr: &Json) -> Option<&str> {
    tag_of(expr, "getTag")
}

fn tag_of<'e>(expr: &'e Json, operator: &str) -> Option<&'e str> {
    let (found, operands) = single(expr)?;
    let is_meant = found == operator && is_principal(operands.get("left")?);
    text(operands.get("right")?).filter(|_| is_meant)
}

/// `x like "pattern"`.
pub fn like(expr: &Json) -> Option<(&Json, &Json)> {
    let ("like", operands) = single(expr)? else {
        return None;
    };
    Some((operands.get("left")?, operands.get("pattern")?))
}

/// `x.contains(y)`.
pub fn containing(expr: &Json) -> Option<(&Json, &Json)> {
    let ("contains", operands) = single(expr)? else {
        return None;
    };
    Some((operands.get("left")?, operands.get("right")?))
}

/// `x == y` or `x != y`.
pub fn comparison(expr: &Json) -> Option<(&str, &Json, &Json)> {
    let (operator @ ("==" | "!="), operands) = single(expr)? else {
        return None;
    };
    let (left, right) = (operands.get("left")?, operands.get("right")?);
    Some(match text(left) {
        // A text may stand on either side.
        Some(_) => (operator, right, left),
        None => (operator, left, right),
    })
}

/// A text.
pub fn text(expr: &Json) -> Option<&str> {
    match single(expr)? {
        ("Value", value) => value.as_str(),
        _ => None,
    }
}

/// An argument of the call, for typed tools.
pub fn input(name: &str) -> Json {
    json!({".": {"left": {".": {"left": variable("context"), "attr": "input"}}, "attr": name}})
}

/// Whether the call has an argument.
pub fn has_input(name: &str) -> Json {
    let input = json!({".": {"left": variable("context"), "attr": "input"}});
    json!({"has": {"left": input, "attr": name}})
}

/// Whether the principal is this one.
pub fn principal_is(ty: &str, id: &str) -> Json {
    let uid = json!({"Value": {"__entity": {"type": ty, "id": id}}});
    binary("==", variable("principal"), uid)
}

/// Whether the resource is this tool, or is not.
pub fn resource_is(server: &str, tool: &str, is: bool) -> Json {
    let uid =
        json!({"Value": {"__entity": {"type": "Mcp::Tool", "id": format!("{server}/{tool}")}}});
    binary(if is { "==" } else { "!=" }, variable("resource"), uid)
}

/// Whether the principal has a tag.
pub fn tagged(tag: &str) -> Json {
    binary("hasTag", variable("principal"), json!({"Value": tag}))
}

/// The texts of a tag.
pub fn tag_value(tag: &str) -> Json {
    binary("getTag", variable("principal"), json!({"Value": tag}))
}

/// Whether a tag has this text.
pub fn contains(tag: &str, value: &str) -> Json {
    binary("contains", tag_value(tag), json!({"Value": value}))
}

/// Both.
pub fn and(left: Json, right: Json) -> Json {
    binary("&&", left, right)
}

/// What holds of a tag, and true where it is not there. Cedar's validator does not see through `!hasTag(…) || …`.
pub fn unless_lacking(tag: &str, expr: Json) -> Json {
    json!({"if-then-else": {"if": tagged(tag), "then": expr, "else": {"Value": true}}})
}

/// Not.
pub fn not(arg: Json) -> Json {
    json!({"!": {"arg": arg}})
}

/// An operator of two operands.
pub fn binary(operator: &str, left: Json, right: Json) -> Json {
    json!({operator: {"left": left, "right": right}})
}

/// A variable.
pub fn variable(name: &str) -> Json {
    json!({"Var": name})
}

/// What is refused, in words.
pub fn shown(expr: &Json) -> String {
    if let Some((variable, path)) = attribute(expr) {
        return match path.is_empty() {
            true => format!("`{variable}` as a whole"),
            false => format!("`{variable}.{}`", path.join(".")),
        };
    }
    match (has(expr), single(expr)) {
        (Some((variable, mut path, name)), _) => {
            path.insert(0, variable);
            format!("`{} has {name}`", path.join("."))
        }
        (_, Some((operator, _))) => format!("`{operator}`"),
        _ => "it".to_owned(),
    }
}
