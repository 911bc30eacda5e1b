//! What a server's form asks for, read from its JSON Schema.
//!
//! A server must not ask for passwords, keys, tokens or payment data by form (MCP, elicitation). Whether
//! a field looks like that is a fact for policies, found in everything a person would read: the field's
//! name, title, description, format, and the choices it offers.

use serde_json::Value as Json;
use smol_str::SmolStr;

/// Words that name a secret or payment data, in any place and case, spaces and dashes left out.
const SECRET_WORDS: [&str; 21] = [
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "signingkey",
    "encryptionkey",
    "credential",
    "bearer",
    "authcode",
    "onetimecode",
    "verificationcode",
    "mfacode",
    "seedphrase",
    "recoveryphrase",
    "creditcard",
    "cardnumber",
];
/// Words so short that they count only on their own.
const WHOLE_WORDS: [&str; 7] = ["pin", "otp", "cvv", "cvc", "iban", "ssn", "pwd"];
/// Deepest nesting looked into; forms are flat by the standard.
const MAX_DEPTH: usize = 16;

/// The fields of a form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Form {
    /// The fields' names.
    pub field_names: Vec<SmolStr>,
    /// Those that look like they ask for a secret.
    pub secret_fields: Vec<SmolStr>,
}

/// Reads a form. `None` if it is no form at all: then nobody can say what it asks for.
pub fn read_form(requested_schema: &Json) -> Option<Form> {
    let properties = requested_schema.get("properties")?.as_object()?;
    let mut form = Form::default();
    for (name, field) in properties {
        let name = SmolStr::new(name);
        let asks_for_secret = names_secret(&name) || describes_secret(field, 0);
        if asks_for_secret {
            form.secret_fields.push(name.clone());
        }
        form.field_names.push(name);
    }
    Some(form)
}

/// Whether anything in a field's schema, at any depth, names a secret.
fn describes_secret(schema: &Json, depth: usize) -> bool {
    if depth > MAX_DEPTH {
        // Nobody nests a form this deep to be understood.
        return true;
    }
    match schema {
        Json::String(text) => names_secret(text),
        Json::Array(items) => items.iter().any(|item| describes_secret(item, depth + 1)),
        Json::Object(members) => members
            .iter()
            .any(|(name, value)| names_secret(name) || describes_secret(value, depth + 1)),
        Json::Null | Json::Bool(_) | Json::Number(_) => false,
    }
}

/// Whether a text names a secret: `apiKey`, `API key` and `api_key` are the same words.
pub(super) fn names_secret(text: &str) -> bool {
    let words = words_of(text);
    if words
        .iter()
        .any(|word| WHOLE_WORDS.contains(&word.as_str()))
    {
        return true;
    }
    let joined: String = words.concat();
    SECRET_WORDS.iter().any(|word| joined.contains(word))
}

/// The words of a text in lower case; a capital after a small letter begins one.
fn words_of(text: &str) -> Vec<String> {
    let mut words: Vec<String> = vec![String::new()];
    let mut after_small = false;
    for c in text.chars() {
        if !c.is_alphanumeric() {
            words.push(String::new());
            after_small = false;
            continue;
        }
        if c.is_uppercase() && after_small {
            words.push(String::new());
        }
        after_small = c.is_lowercase();
        if let Some(word) = words.last_mut() {
            word.extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests;
