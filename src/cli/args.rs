//! Arguments shared by control commands: times, scopes, steps and statuses.

use anyhow::bail;
use prost_types::{Duration, Timestamp};

use crate::cli::value_parser;
use crate::proto::v1;

/// Which calls are covered.
#[derive(Debug, Default, Clone, clap::Args)]
#[command(next_help_heading = "What is covered")]
pub struct ScopeArgs {
    /// A tool (may be repeated)
    #[arg(long = "tool", value_name = "SERVER/TOOL", value_parser = tool_path)]
    tools: Vec<String>,
    /// Everything that a server offers (may be repeated)
    #[arg(long = "server", value_name = "NAME")]
    servers: Vec<String>,
    /// Every tool and server in a group (may be repeated)
    #[arg(long = "group", value_name = "NAME")]
    groups: Vec<String>,
    /// The most a call may do: read, write or admin
    #[arg(long, value_name = "LEVEL", value_parser = access)]
    access: Option<v1::AccessLevel>,
    /// A place that calls may act upon, with everything within it; without any, all places (may be
    /// repeated)
    #[arg(long = "target", value_name = "PLACE")]
    targets: Vec<String>,
}

/// When something ends.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "How long")]
pub struct ExpiryArgs {
    /// For so long from now, e.g. `2h`, `90m` or `7days`
    #[arg(long = "for", value_name = "DURATION", value_parser = lasting)]
    lasting: Option<Duration>,
    /// Until this time in UTC, e.g. `2030-01-31T15:00:00Z`
    #[arg(long, value_name = "TIME", value_parser = moment, conflicts_with = "lasting")]
    until: Option<Timestamp>,
}

impl ScopeArgs {
    /// The scope, if any flag is given.
    ///
    /// # Errors
    ///
    /// If the scope names no tool, server or group, or has no access level.
    pub fn scope(&self) -> anyhow::Result<Option<v1::Scope>> {
        let scope = v1::Scope {
            tools: self.tools.clone(),
            servers: self.servers.clone(),
            groups: self.groups.clone(),
            access: self.access.unwrap_or_default().into(),
            targets: self.targets.clone(),
        };
        if scope == v1::Scope::default() {
            return Ok(None);
        }
        if scope.tools.is_empty() && scope.servers.is_empty() && scope.groups.is_empty() {
            bail!("the scope names nothing: add `--tool`, `--server` or `--group`");
        }
        if self.access.is_none() {
            bail!("`--access` is missing: say the most a call may do: read, write or admin");
        }
        Ok(Some(scope))
    }

    /// Adds tools to the scope, unless it names servers or groups, which may contain them.
    pub fn with_tools(&self, uses: &[v1::ToolUse]) -> Self {
        let mut with = self.clone();
        if self.servers.is_empty() && self.groups.is_empty() {
            let new = uses.iter().map(|it| &it.tool);
            let new = new.filter(|tool| !self.tools.contains(tool));
            with.tools.extend(new.cloned());
        }
        with
    }

    /// The scope; an error if no flag is given.
    ///
    /// # Errors
    ///
    /// If no flag of the scope is given, or as for [`Self::scope`].
    pub fn required(&self) -> anyhow::Result<v1::Scope> {
        match self.scope()? {
            Some(scope) => Ok(scope),
            None => bail!("say what is covered: `--tool`, `--server` or `--group`, and `--access`"),
        }
    }
}

impl ExpiryArgs {
    /// The end as a request says it: a time, or how long from when it is made; neither if not given. The server works out the
    /// time, so that the same words are the same request.
    pub fn end(&self) -> (Option<Timestamp>, Option<Duration>) {
        (self.until, self.lasting)
    }

    /// The end; an error if not given.
    ///
    /// # Errors
    ///
    /// If no flag of the end is given.
    pub fn required(&self) -> anyhow::Result<(Option<Timestamp>, Option<Duration>)> {
        match self.end() {
            (None, None) => bail!("say how long: `--for DURATION` or `--until TIME`"),
            end => Ok(end),
        }
    }
}

/// Parses how long something lasts.
///
/// # Errors
///
/// If it is not a duration, or is shorter than a second.
pub fn lasting(text: &str) -> Result<Duration, String> {
    let lasting = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let seconds = i64::try_from(lasting.as_secs()).map_err(|_| "it is too long".to_owned())?;
    if seconds == 0 {
        return Err("it is shorter than a second".to_owned());
    }
    let nanos = lasting.subsec_nanos().cast_signed();
    Ok(Duration { seconds, nanos })
}

/// Parses a time in UTC (RFC 3339).
///
/// # Errors
///
/// If it is not a time in UTC.
pub fn moment(text: &str) -> Result<Timestamp, String> {
    match humantime::parse_rfc3339(text) {
        Ok(at) => Ok(at.into()),
        Err(_) => Err("it is not a time in UTC such as `2030-01-31T15:00:00Z`".to_owned()),
    }
}

/// Parses an access level.
///
/// # Errors
///
/// If it is not `read`, `write` or `admin`.
pub fn access(text: &str) -> Result<v1::AccessLevel, String> {
    state(
        text,
        "ACCESS_LEVEL_",
        v1::AccessLevel::from_str_name,
        "read, write, admin",
    )
}

/// Parses the status of a delegation.
///
/// # Errors
///
/// If it is not a status.
pub fn delegation_status(text: &str) -> Result<v1::DelegationStatus, String> {
    state(
        text,
        "DELEGATION_STATUS_",
        v1::DelegationStatus::from_str_name,
        "active, not-yet, expired, revoked, task-over, agent-gone",
    )
}

/// Parses the status of a task.
///
/// # Errors
///
/// If it is not a status.
pub fn task_status(text: &str) -> Result<v1::TaskStatus, String> {
    state(
        text,
        "TASK_STATUS_",
        v1::TaskStatus::from_str_name,
        "open, closed, overdue, agent-gone",
    )
}

/// Parses the status of an approval.
///
/// # Errors
///
/// If it is not a status.
pub fn approval_status(text: &str) -> Result<v1::ApprovalStatus, String> {
    state(
        text,
        "APPROVAL_STATUS_",
        v1::ApprovalStatus::from_str_name,
        "pending, approved, rejected, expired, used, task-over, agent-gone",
    )
}

fn state<T>(
    text: &str,
    prefix: &str,
    named: impl Fn(&str) -> Option<T>,
    choices: &str,
) -> Result<T, String> {
    let is_choice = choices.split(", ").any(|choice| choice == text);
    let name = format!("{prefix}{}", text.to_ascii_uppercase().replace('-', "_"));
    named(&name)
        .filter(|_| is_choice)
        .ok_or_else(|| format!("it is none of {choices}"))
}

fn tool_path(text: &str) -> Result<String, String> {
    value_parser::tool(text).map(|_| text.to_owned())
}

/// Parses a step: `NAME:` and its scope as comma-separated `NAME=VALUE`.
///
/// # Errors
///
/// If the text does not have that form.
pub fn step(text: &str) -> Result<v1::TaskStep, String> {
    const FORM: &str = "it must be NAME:access=LEVEL,tool=SERVER/TOOL,…";
    let (name, rest) = text.split_once(':').ok_or(FORM)?;
    if name.is_empty() {
        return Err(FORM.to_owned());
    }
    let mut scope = v1::Scope::default();
    for part in rest.split(',') {
        let (key, value) = part
            .split_once('=')
            .filter(|(_, value)| !value.is_empty())
            .ok_or_else(|| format!("`{part}` is not NAME=VALUE: {FORM}"))?;
        match key {
            "access" if scope.access != 0 => return Err("`access` is given twice".to_owned()),
            "access" => scope.access = access(value)?.into(),
            "tool" => scope.tools.push(tool_path(value)?),
            "server" => scope.servers.push(value.to_owned()),
            "group" => scope.groups.push(value.to_owned()),
            "target" => scope.targets.push(value.to_owned()),
            _ => {
                return Err(format!(
                    "`{key}` is none of access, tool, server, group, target"
                ));
            }
        }
    }
    if scope.access == 0 {
        return Err("`access` is missing: the most a call may do in the step".to_owned());
    }
    if scope.tools.is_empty() && scope.servers.is_empty() && scope.groups.is_empty() {
        return Err("it names no `tool`, no `server` and no `group`".to_owned());
    }
    Ok(v1::TaskStep {
        name: name.to_owned(),
        scope: Some(scope),
    })
}

/// Parses terms of use of a tool: `SERVER/TOOL:` and comma-separated `NAME=VALUE`.
///
/// # Errors
///
/// If the text does not have that form.
pub fn tool_use(text: &str) -> Result<v1::ToolUse, String> {
    const FORM: &str = "it must be SERVER/TOOL:target=PLACE,max=N,argument.NAME=VALUE, or any-target for target=PLACE";
    let (tool, rest) = text.split_once(':').ok_or(FORM)?;
    let mut read = v1::ToolUse {
        tool: tool_path(tool)?,
        ..v1::ToolUse::default()
    };
    for part in rest.split(',') {
        if part == "any-target" {
            read.any_target = true;
            continue;
        }
        let (key, value) = part
            .split_once('=')
            .filter(|(_, value)| !value.is_empty())
            .ok_or_else(|| format!("`{part}` is not NAME=VALUE: {FORM}"))?;
        match (key, key.strip_prefix("argument.")) {
            ("target", _) => read.targets.push(value.to_owned()),
            ("max", _) if read.max_calls.is_some() => return Err("`max` is given twice".to_owned()),
            ("max", _) => {
                let max = value.parse();
                read.max_calls = Some(max.map_err(|_| "`max` is not a number".to_owned())?);
            }
            (_, Some(argument)) if !argument.is_empty() => {
                let value = value_parser::json_or_text(value)?.to_string();
                match read.arguments.iter_mut().find(|it| it.argument == argument) {
                    Some(named) => named.values_json.push(value),
                    None => read.arguments.push(v1::ArgumentValues {
                        argument: argument.to_owned(),
                        values_json: vec![value],
                    }),
                }
            }
            _ => {
                return Err(format!(
                    "`{key}` is none of target, any-target, max, argument.NAME"
                ));
            }
        }
    }
    Ok(read)
}

/// Parses a target argument: its path, and after a colon comma-separated properties.
///
/// # Errors
///
/// If the text does not have that form.
pub fn target_argument(text: &str) -> Result<v1::TargetArgument, String> {
    const FORM: &str = "it must be ARGUMENT:kind=KIND,base=BASE,role=ROLE,optional";
    let (argument, rest) = match text.split_once(':') {
        Some((argument, rest)) => (argument, Some(rest)),
        None => (text, None),
    };
    if argument.is_empty() {
        return Err(FORM.to_owned());
    }
    let mut read = v1::TargetArgument {
        argument: argument.to_owned(),
        ..v1::TargetArgument::default()
    };
    for part in rest.into_iter().flat_map(|rest| rest.split(',')) {
        if part == "optional" {
            read.optional = true;
            continue;
        }
        let (key, value) = part
            .split_once('=')
            .filter(|(_, value)| !value.is_empty())
            .ok_or_else(|| format!("`{part}` is neither `optional` nor NAME=VALUE: {FORM}"))?;
        let field = match key {
            "kind" => &mut read.kind,
            "base" => &mut read.base,
            "role" => &mut read.role,
            _ => return Err(format!("`{key}` is none of kind, base, role, optional")),
        };
        if !field.is_empty() {
            return Err(format!("`{key}` is given twice"));
        }
        value.clone_into(field);
    }
    Ok(read)
}

#[cfg(test)]
#[path = "args_tests.rs"]
mod tests;
