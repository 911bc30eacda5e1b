//! What a change gives power over, by what it changes: money, rights, what is run later, machines, keys.
//!
//! Start at [`given_by`].

use crate::analysis::propose::lexicon::{
    ADMITTED, ADMITTING, INFRASTRUCTURE, PHYSICAL, POWERS, WordList,
};
use crate::analysis::propose::secrets::opens;
use crate::analysis::propose::words::ParsedToolName;

/// Verbs that spend money whatever they are about.
const BUYING: WordList = WordList::new("bet bid book donate order rent subscribe tip");

/// What is paid with, or paid for.
const MONEY: WordList = WordList::new(
    "bitcoin booking bookings btc cash charge charges checkout crypto deposit deposits dollars donation donations eth euros \
     fare fares flight flights fund funds hotel hotels invoice invoices loan loans money order orders payment payments purchase \
     purchases remittance subscription subscriptions tip trade trades transaction transactions usd usdc wallet",
);

/// What is paid for by its level, where a verb changes that.
const PLANS: WordList =
    WordList::new("license licenses membership plan plans seat seats subscription tier");
const CHANGING_PLANS: WordList =
    WordList::new("buy change downgrade extend renew subscribe switch upgrade");

/// Those who get in, where they are added.
const PEOPLE: WordList = WordList::new("identities identity principal principals user users");
const ADDING: WordList =
    WordList::new("add create enroll import insert make new provision put register set");
const PREPOSITIONS: WordList = WordList::new("as for in into on to with");

/// Verbs that make something `public`.
const MAKING: WordList = WordList::new("change make mark set turn");

/// What is run later, or changes what is.
const RUN_LATER: WordList = WordList::new(
    "addon addons autostart bashrc binary cron cronjob cronjobs crontab crontabs daemon daemons env envs envvar envvars \
     executable extension extensions function functions githook githooks hook hooks lambda lambdas launchd macro macros playbook \
     playbooks plugin plugins procedure procedures runbook runbooks sudoers systemd trigger triggers udf udfs",
);

/// What a tool that changes something gives power over, as the end of a sentence; `None` if nothing but data.
pub(super) fn given_by(named: &ParsedToolName, verb: &str) -> Option<String> {
    let words = &named.own;
    if let Some(power) = POWERS.first(words) {
        return Some(format!("`{power}` decides what else can happen"));
    }
    if let Some(thing) = PHYSICAL.first(words) {
        return Some(format!("a `{thing}` is no data"));
    }
    if ADMITTING.has(verb)
        && let Some(whose) = ADMITTED.first(words)
    {
        return Some(format!("that decides who gets in: `{whose}`"));
    }
    if let Some(who) = let_in(words, verb) {
        return Some(format!("that decides who gets in: `{who}`"));
    }
    if opens(words) {
        return Some("a key that opens something".to_owned());
    }
    // `trigger_build` has a verb, `create_trigger` a thing.
    let mut things = words.iter().filter(|word| *word != verb);
    if let Some(word) = things.clone().find(|word| MONEY.has(word)) {
        return Some(format!("`{word}` is about money"));
    }
    if BUYING.has(verb) || CHANGING_PLANS.has(verb) && things.clone().any(|word| PLANS.has(word)) {
        return Some("that may cost money".to_owned());
    }
    let is_variable = |pair: &[String]| matches!(pair, [before, word] if before == "environment" && word.starts_with("var"));
    if words.windows(2).any(is_variable) {
        return Some("`environment` changes what runs".to_owned());
    }
    if let Some(word) = things.find(|word| RUN_LATER.has(word)) {
        return Some(format!("`{word}` is run, or changes what runs"));
    }
    let machine = INFRASTRUCTURE.first(&named.with_server)?;
    Some(format!("`{machine}` steers machines"))
}

/// Who gets in by a change: `create_user`, `add_user_to_team`, and everybody by `make_public`. `create_user_story` lets nobody in.
fn let_in<'w>(words: &'w [String], verb: &str) -> Option<&'w str> {
    let last = words.last()?;
    if last == "public" && MAKING.has(verb) {
        return Some(last);
    }
    if !ADDING.has(verb) {
        return None;
    }
    let at = words.iter().position(|word| PEOPLE.has(word))?;
    let next = words.get(at + 1);
    let is_whole = next.is_none_or(|next| PREPOSITIONS.has(next));
    words.get(at).map(String::as_str).filter(|_| is_whole)
}

#[cfg(test)]
#[path = "powers_tests.rs"]
mod tests;
