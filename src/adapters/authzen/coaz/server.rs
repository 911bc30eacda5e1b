//! Which server a COAZ request is about.

use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use super::{CONTEXT, CoazError, CoazReader, PROPERTIES, SUBJECT, ambiguous, unclear};
use crate::adapters::input::field_error::{
    FieldContext as _, FieldError, FieldProblem, TextExcerpt,
};
use crate::adapters::input::ids;
use crate::adapters::input::json_fields::{object, optional_object, optional_text};
use crate::adapters::mcp::methods::ObjectKind;
use crate::config::coaz::ServerFrom;
use crate::domain::reason::Reason;
use crate::domain::schema;

/// Why the server is not known where the request has to state it.
const NOT_STATED: &str = "`resource.properties.server` does not say which server this is about";

/// The server that a request is about.
pub(super) struct NamedServer {
    /// Its name; empty if nothing says it.
    pub(super) server: SmolStr,
    /// The resource id without the server's name.
    pub(super) id: SmolStr,
    /// Why it is not clear that it is this one.
    pub(super) unclear: Option<Box<Reason>>,
}

impl CoazReader<'_> {
    /// Returns the server that a request is about, and whether all that names one agrees.
    pub(super) fn server(
        &self,
        request: &Map<String, Json>,
        kind: ObjectKind,
        id: &SmolStr,
        properties: Option<&Map<String, Json>>,
    ) -> Result<NamedServer, FieldError> {
        let stated = match properties {
            Some(properties) => {
                optional_text(properties, "server").within("resource.properties")?
            }
            None => None,
        };
        let stated = stated
            .map(|text| ids::required::<SmolStr>(text, self.parser.limits.id_bytes, "server"))
            .transpose()
            .within("resource.properties")?;
        let (of_aud, mut unclear) = match self.of_audience(request, kind, id, properties) {
            Ok(found) => (found, None),
            Err(CoazError::Denied(reason)) => (None, Some(reason)),
            Err(CoazError::Invalid(invalid)) => return Err(invalid),
        };
        let named = self.where_configured(kind, id, stated.as_ref(), of_aud.as_ref());
        let (server, id) = named.unwrap_or_else(|reason| {
            unclear.get_or_insert(reason);
            (SmolStr::default(), id.clone())
        });
        for (other, place) in [(stated, "resource.properties.server"), (of_aud, "aud")] {
            if let Some(other) = other.filter(|it| *it != server) {
                let (other, server) = (TextExcerpt::new(&other), TextExcerpt::new(&server));
                let said =
                    format!("`{place}` names the server `{other}`, and this is about `{server}`");
                unclear.get_or_insert_with(|| ambiguous(said));
            }
        }
        Ok(NamedServer {
            server,
            id,
            unclear,
        })
    }

    /// The server and the resource id without its name, from where the configuration says.
    fn where_configured(
        &self,
        kind: ObjectKind,
        id: &SmolStr,
        stated: Option<&SmolStr>,
        of_aud: Option<&SmolStr>,
    ) -> Result<(SmolStr, SmolStr), Box<Reason>> {
        let (server, missing) = match (self.entry.server.as_deref(), self.entry.server_from) {
            (Some(server), _) => return Ok((SmolStr::new(server), id.clone())),
            (None, Some(ServerFrom::Id)) => return self.of_id(kind, id, stated),
            (None, Some(ServerFrom::Aud)) => (
                of_aud,
                "no `aud` says which server this is about: see `audiences` of `[[authzen.mcp]]`",
            ),
            (None, Some(ServerFrom::Properties)) => (stated, NOT_STATED),
            (None, None) => (
                None,
                "`[[authzen.mcp]]` does not say which server this is about",
            ),
        };
        let server = server.cloned().ok_or_else(|| ambiguous(missing))?;
        Ok((server, id.clone()))
    }

    /// Splits the server's name off a resource id. Both tool and server names may contain slashes: if several
    /// registered servers match, the request is ambiguous.
    fn of_id(
        &self,
        kind: ObjectKind,
        id: &SmolStr,
        stated: Option<&SmolStr>,
    ) -> Result<(SmolStr, SmolStr), Box<Reason>> {
        match kind {
            ObjectKind::Server => return Ok((id.clone(), id.clone())),
            // URIs and task ids do not begin with the server's name.
            ObjectKind::Resource | ObjectKind::Task => {
                let server = stated.cloned().ok_or_else(|| ambiguous(NOT_STATED))?;
                return Ok((server, id.clone()));
            }
            ObjectKind::Tool | ObjectKind::Prompt => {}
        }
        let splits: Vec<(&str, &str)> = id
            .match_indices('/')
            .map(|(at, _)| (&id[..at], &id[at + 1..]))
            .filter(|(server, name)| !server.is_empty() && !name.is_empty())
            .collect();
        let is_registered = |server: &str| {
            let server = schema::server_uid(&SmolStr::new(server));
            self.generation.snapshot.contains(&server)
        };
        let mut registered = splits.iter().filter(|(server, _)| is_registered(server));
        let split = match (registered.next(), registered.next()) {
            (Some(_), Some(_)) => {
                let id = TextExcerpt::new(id);
                return Err(ambiguous(format!(
                    "`resource.id` `{id}` could be of several servers"
                )));
            }
            (Some(only), None) => Some(only),
            (None, _) => splits.first(),
        };
        let (server, name) = split.ok_or_else(|| {
            let id = TextExcerpt::new(id);
            ambiguous(format!(
                "`resource.id` `{id}` is not of the form `server/name`"
            ))
        })?;
        Ok((SmolStr::new(server), SmolStr::new(name)))
    }

    /// Returns the one server that the `aud` values of a request name. Audiences that are not configured are
    /// ignored: a token may be meant for other recipients too.
    fn of_audience(
        &self,
        request: &Map<String, Json>,
        kind: ObjectKind,
        id: &SmolStr,
        properties: Option<&Map<String, Json>>,
    ) -> Result<Option<SmolStr>, CoazError> {
        const AUD: &str = "aud";
        let audiences = &self.entry.audiences;
        if audiences.is_empty() {
            return Ok(None);
        }
        let of_subject = optional_object(object(request, SUBJECT)?, PROPERTIES).within(SUBJECT)?;
        let given = [of_subject, optional_object(request, CONTEXT)?, properties];
        let given = given.into_iter().flatten().filter_map(|it| it.get(AUD));
        let server_id = Json::from(id.as_str());
        let mut texts: Vec<&Json> = Vec::new();
        for value in given.chain((kind == ObjectKind::Server).then_some(&server_id)) {
            match value {
                Json::Array(items) => texts.extend(items),
                Json::Null => {}
                one => texts.push(one),
            }
        }
        let mut found: Option<SmolStr> = None;
        for text in texts {
            let Some(text) = text.as_str() else {
                return Err(FieldError::new(
                    AUD,
                    FieldProblem::NotOfShape("a string or a list of strings"),
                )
                .into());
            };
            match (audiences.get(text), &found) {
                (Some(server), Some(known)) if *known != *server => {
                    return Err(unclear("`aud` is of several servers"));
                }
                (Some(server), _) => found = Some(SmolStr::new(server)),
                (None, _) => {}
            }
        }
        // A request about the server as a whole names it by its audience alone.
        if found.is_none()
            && self.entry.server_from == Some(ServerFrom::Aud)
            && kind == ObjectKind::Server
        {
            let id = TextExcerpt::new(id);
            return Err(unclear(format!(
                "`resource.id` `{id}` is none of the `audiences` of `[[authzen.mcp]]`"
            )));
        }
        Ok(found)
    }
}
