//! Tables: many subjects times many calls, each cell of them a case.

use crate::analysis::policy_test::form::{Case, Given, Table, Want};
use crate::analysis::policy_test::prepare::CaseFault;

/// A cell of a table.
pub(super) struct Cell {
    pub(super) case: Case,
    row: usize,
    column: usize,
}

impl Cell {
    /// The fault of its case, where the table says what is wrong.
    pub(super) fn locate(&self, fault: CaseFault) -> CaseFault {
        let (row, column) = (self.row, self.column);
        let field = fault.place.as_ref().unwrap_or(&fault.field).clone();
        let (first, rest) = match field.find(['.', '[']) {
            Some(end) => field.split_at(end),
            None => (field.as_str(), ""),
        };
        let place = match first {
            "fixtures" => field,
            "call" => format!("calls[{column}]{rest}"),
            "user" | "agent" | "from_server" | "for" | "via" => format!("rows[{row}][0]"),
            "want" | "code" => format!("rows[{row}][{}]", column + 1),
            _ => format!("given.{field}"),
        };
        fault.at(place)
    }
}

/// The cases of a table.
pub(super) fn cells(table: &Table) -> Result<Vec<Cell>, CaseFault> {
    if table.name.is_empty() {
        return Err(CaseFault::new("name", "a table has a name"));
    }
    let given = &table.given;
    let says_more = given.user.is_some()
        || given.agent.is_some()
        || given.from_server.is_some()
        || given.for_user.is_some()
        || given.call.is_some()
        || given.govern.is_some()
        || given.request.is_some()
        || given.want.is_some()
        || given.code.is_some();
    if says_more {
        let message = "subject, operation and decision are those of the rows and columns";
        return Err(CaseFault::new("given", message));
    }
    if table.calls.is_empty() || table.rows.is_empty() {
        let message = "a table without rows and columns holds no test";
        let field = if table.calls.is_empty() {
            "calls"
        } else {
            "rows"
        };
        return Err(CaseFault::new(field, message));
    }
    let mut cases = Vec::new();
    for (index, row) in table.rows.iter().enumerate() {
        let at = format!("rows[{index}]");
        let Some((subject, cells)) = row.split_first() else {
            return Err(CaseFault::new("rows", "a row begins with its subject").at(at));
        };
        if cells.len() != table.calls.len() {
            let (has, calls) = (cells.len(), table.calls.len());
            let message = format!("the row of `{subject}` has {has} decisions for {calls} calls");
            return Err(CaseFault::new("rows", message).at(at));
        }
        for (number, (call, cell)) in table.calls.iter().zip(cells).enumerate() {
            let case = with_subject(given.clone(), subject);
            let mut case = case.map_err(|fault| fault.at(format!("{at}[0]")))?;
            let wanted = parse_cell(cell);
            let (want, code) = wanted.map_err(|fault| fault.at(format!("{at}[{}]", number + 1)))?;
            let column = match call {
                Given::Name(name) => name.clone(),
                Given::Inline(form) => match &form.tool {
                    Some(tool) => tool.clone(),
                    None => format!("column {}", number + 1),
                },
            };
            case.name = format!("{}: {subject}, {column}", table.name);
            case.call = Some(call.clone());
            case.want = Some(want);
            case.code = code;
            cases.push(Cell {
                case,
                row: index,
                column: number,
            });
        }
    }
    Ok(cases)
}

fn parse_cell(cell: &str) -> Result<(Want, Option<String>), CaseFault> {
    let mut words = cell.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some("allow"), None, None) => Ok((Want::Allow, None)),
        (Some("deny"), code, None) => Ok((Want::Deny, code.map(str::to_owned))),
        _ => Err(CaseFault::new(
            "rows",
            format!("`{cell}` is none of `allow`, `deny` and `deny CODE`"),
        )),
    }
}

/// `user:tara`, `agent:support`, `agent:support for user:tara`, `agent:research for user:tara via support`, `server:github`.
fn with_subject(mut case: Case, text: &str) -> Result<Case, CaseFault> {
    let malformed = || {
        let message = format!("`{text}` is no subject: write `agent:support for user:tara`");
        CaseFault::new("rows", message)
    };
    let (subject, rest) = text.split_once(" for ").unwrap_or((text, ""));
    match subject.trim().split_once(':') {
        Some(("user", id)) => case.user = Some(id.to_owned()),
        Some(("agent", id)) => case.agent = Some(id.to_owned()),
        Some(("server", id)) => case.from_server = Some(id.to_owned()),
        _ => return Err(malformed()),
    }
    if !rest.is_empty() {
        let (root, via) = rest.split_once(" via ").unwrap_or((rest, ""));
        let root = root.trim().strip_prefix("user:").ok_or_else(malformed)?;
        case.for_user = Some(root.to_owned());
        let via = via.split(',').map(str::trim).filter(|it| !it.is_empty());
        case.via = via.map(str::to_owned).collect();
    }
    Ok(case)
}
