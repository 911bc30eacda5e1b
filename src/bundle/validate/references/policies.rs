//! Checks names in policies and templates, and by `links` those in links.
//!
//! Start at [`check`].

use std::sync::Arc;

use callgate_engine::cedar::{
    BinaryOp, EntityReference, EntityType, EntityUID, Expr, ExprKind, Literal, Loc, Pattern,
    PrincipalOrResourceConstraint, Template, ValidatorSchema,
};

use crate::bundle::diagnostic::BundleDiagnostic;
use crate::bundle::validate::references::argument_words::ArgumentWords;
use crate::bundle::validate::references::canonical_text::{CanonicalText, Refusal};
use crate::bundle::validate::references::group_members::MemberTypes;
use crate::bundle::validate::references::known_entities::{
    KnownEntities, id_of, nearest, unknown_entity,
};
use crate::bundle::validate::references::known_words::KnownWords;
use crate::bundle::validate::references::read_words::ReadWords;
use crate::bundle::validate::references::value_sources::{PolicyScope, PolicyScopes, ValueSource};
use crate::bundle::validate::references::vocabulary::Vocabulary;
use crate::bundle::validate::references::{
    CheckedPolicies, MAX_TOLD, ReferenceCheck, action_access, links,
};

/// Diagnostics about the names in policies.
#[derive(Debug, Default)]
pub(super) struct ReferenceFindings {
    pub faults: Vec<BundleDiagnostic>,
    pub warnings: Vec<BundleDiagnostic>,
    /// The labels and roles that policies compare with.
    pub read: ReadWords,
    /// The policies of which nothing was said.
    pub checked: CheckedPolicies,
}

/// Reports undefined names in policies, templates and links, but for the policies that were `checked`.
pub(super) fn check<'a>(
    scene: ReferenceCheck<'a>,
    mut checked: CheckedPolicies,
    known: &KnownEntities<'_>,
    words: &KnownWords,
    schema: &'a ValidatorSchema,
) -> ReferenceFindings {
    let mut said = ReferenceFindings::default();
    let mut scopes = PolicyScopes::new(schema, scene.tools);
    let members = MemberTypes::new(&scene.facts.within, known);
    let configured = &scene.config.bundle.known.arguments;
    let arguments = ArgumentWords::new(&scene.facts.schemas, configured);
    let is_left = |template: &&Template| !checked.contains_key(template.id());
    let templates = scene.policies.set.all_templates();
    let mut templates: Vec<&Template> = templates.filter(is_left).collect();
    templates.sort_by_key(|template| template.id());
    let mut stopped_at = None;
    for template in templates {
        let before = (said.faults.len(), said.warnings.len());
        let read = PolicyReferenceCheck {
            scene,
            known,
            words,
            members: &members,
            arguments: &arguments,
            template,
            scope: None,
            read: ReadWords::default(),
            said: &mut said,
        }
        .check(&mut scopes);
        said.read.extend(&read);
        let after = (said.faults.len(), said.warnings.len());
        if after == before {
            let read = (!read.is_empty()).then(|| Arc::new(read));
            said.checked.insert(template.id().clone(), read);
        }
        if after.0 >= MAX_TOLD && after.1 >= MAX_TOLD {
            stopped_at = Some(template.id());
            break;
        }
    }
    // The words of those that come before the end, in the order of their ids.
    for (id, read) in &checked {
        if let Some(read) = read
            && stopped_at.is_none_or(|end| id < end)
        {
            said.read.extend(read);
        }
    }
    checked.extend(said.checked);
    said.checked = checked;
    links::check(scene, known, &members, &mut scopes, &mut said.warnings);
    said
}

/// Checks one policy.
struct PolicyReferenceCheck<'r, 'm, 'a> {
    scene: ReferenceCheck<'a>,
    known: &'r KnownEntities<'r>,
    words: &'r KnownWords,
    members: &'r MemberTypes<'m>,
    arguments: &'r ArgumentWords<'a>,
    template: &'r Template,
    /// Computed on first use.
    scope: Option<PolicyScope<'a>>,
    /// The words that it compares with.
    read: ReadWords,
    said: &'r mut ReferenceFindings,
}

impl<'a> PolicyReferenceCheck<'_, '_, 'a> {
    /// Checks the policy. Returns the labels and roles that it compares with.
    fn check(mut self, scopes: &mut PolicyScopes<'a>) -> ReadWords {
        let template = self.template;
        self.scope_names(scopes);
        let conditions = template.non_scope_constraints().into_iter();
        for part in conditions.flat_map(Expr::subexpressions) {
            self.part(part, scopes);
        }
        let tools = self.scene.tools;
        if let Some((message, help)) = action_access::unmatched_access(template, tools, scopes) {
            self.warn(template.loc(), &message, help);
        }
        self.read
    }

    fn at(&self, loc: Option<&Loc>, message: &str) -> Option<BundleDiagnostic> {
        let id = self.template.id();
        let (origin, start, length) = self.scene.policies.place(id.as_ref())?;
        let message = format!("for policy `{id}`, {message}");
        Some(match loc {
            Some(loc) => {
                BundleDiagnostic::at(origin, loc.start(), loc.end() - loc.start(), message)
            }
            None => BundleDiagnostic::at(origin, start, length, message),
        })
    }

    fn warn(&mut self, loc: Option<&Loc>, message: &str, help: String) {
        let fault = self.at(loc, message);
        self.said
            .warnings
            .extend(fault.map(|it| it.with_help(help)));
    }

    fn scope_names(&mut self, scopes: &mut PolicyScopes<'a>) {
        let template = self.template;
        for (constraint, is_principal) in [
            (template.principal_constraint().as_inner(), true),
            (template.resource_constraint().as_inner(), false),
        ] {
            use PrincipalOrResourceConstraint::{Any, Eq, In, Is, IsIn};
            match constraint {
                Eq(EntityReference::EUID(uid)) => self.entity(uid, uid.loc()),
                In(EntityReference::EUID(uid)) | IsIn(_, EntityReference::EUID(uid)) => {
                    self.entity(uid, uid.loc());
                    let scope = self.scope(scopes);
                    let types = match is_principal {
                        true => scope.principals.clone(),
                        false => scope.resources.clone(),
                    };
                    self.membership(&types, uid, uid.loc());
                }
                Eq(_) | In(_) | IsIn(..) | Is(_) | Any => {}
            }
        }
    }

    /// Checks that entities of these types can be in another one.
    fn membership(&mut self, types: &[&EntityType], uid: &EntityUID, loc: Option<&Loc>) {
        if let Some(refusal) = self.members.refusal(types, uid) {
            self.warn(loc, &refusal.message, refusal.help);
        }
    }

    fn entity(&mut self, uid: &EntityUID, loc: Option<&Loc>) {
        if uid.entity_type().is_action() || self.known.has(uid) {
            return;
        }
        self.warn(loc, &unknown_entity(uid), self.known.help(uid));
    }

    /// Checks one subexpression of the conditions.
    fn part(&mut self, part: &Expr, scopes: &mut PolicyScopes<'a>) {
        match part.expr_kind() {
            ExprKind::Lit(Literal::EntityUID(uid)) => {
                self.entity(uid, part.source_loc().or(uid.loc()));
            }
            ExprKind::BinaryApp {
                op: BinaryOp::In,
                arg1,
                arg2,
            } => {
                let places = self.scope(scopes).places(arg1);
                let types: Option<Vec<&EntityType>> =
                    places.iter().map(ValueSource::as_entity).collect();
                for (uid, loc) in entities(arg2) {
                    self.membership(types.as_deref().unwrap_or_default(), uid, loc);
                }
            }
            ExprKind::BinaryApp {
                op: BinaryOp::HasTag,
                arg1,
                arg2,
            } => {
                let places = self.scope(scopes).places(arg1);
                self.tag(&places, arg2);
            }
            ExprKind::BinaryApp { op, arg1, arg2 } if compares(*op) => {
                for (side, other) in [(arg1, arg2), (arg2, arg1)] {
                    if !holds_text(other) {
                        continue;
                    }
                    let places = self.scope(scopes).places(side);
                    self.compared(&places, other);
                }
            }
            ExprKind::Like { expr, pattern } => {
                let places = self.scope(scopes).places(expr);
                self.like(&places, pattern, part.source_loc());
            }
            ExprKind::HasAttr { expr, attr } => {
                let places = self.scope(scopes).places(expr);
                self.tested(places, &[attr], part.source_loc());
            }
            ExprKind::ExtHasAttr { expr, attrs } => {
                let places = self.scope(scopes).places(expr);
                let steps: Vec<&_> = attrs.iter().collect();
                self.tested(places, &steps, part.source_loc());
            }
            _ => {}
        }
    }

    fn scope(&mut self, scopes: &mut PolicyScopes<'a>) -> &PolicyScope<'a> {
        let template = self.template;
        self.scope.get_or_insert_with(|| scopes.scope_of(template))
    }

    /// Checks the texts that values of these sources are compared with.
    fn compared(&mut self, places: &[ValueSource<'a>], with: &Expr) {
        if places.is_empty() {
            return;
        }
        match with.expr_kind() {
            ExprKind::Lit(Literal::String(word)) => {
                let words = self.words;
                for vocabulary in places.iter().filter_map(ValueSource::vocabulary) {
                    self.read.add(vocabulary, word);
                }
                if let Some(refusal) = self.other_spelling(places, word) {
                    return self.warn(with.source_loc(), &refusal.message, refusal.help);
                }
                let refused = vocabulary(places, |it| words.has(it, word));
                if let Some(vocabulary) = refused {
                    let help = words.help(vocabulary, word);
                    self.refuse(
                        vocabulary,
                        &vocabulary.unknown_word_message(word),
                        help,
                        with.source_loc(),
                    );
                }
            }
            ExprKind::Set(elements) => {
                for element in elements.iter() {
                    self.compared(places, element);
                }
            }
            ExprKind::If {
                then_expr,
                else_expr,
                ..
            } => {
                self.compared(places, then_expr);
                self.compared(places, else_expr);
            }
            ExprKind::Record(members) => {
                for (name, value) in members.iter() {
                    let Some(scope) = &self.scope else { return };
                    let inner = scope.step(places, name);
                    self.compared(&inner, value);
                }
            }
            _ => {}
        }
    }

    /// Why none of these values equals a text: requests contain another spelling, or pinned schemas declare another word.
    fn other_spelling(&self, places: &[ValueSource<'a>], word: &str) -> Option<Refusal> {
        let known = self.known;
        if let Some(refusal) = canonical(places, |it| it.refusal(word, known)) {
            return Some(refusal);
        }
        let refused = |message, meant: String| Refusal {
            message,
            help: format!("did you mean `{meant}`?"),
        };
        if places.iter().all(ValueSource::is_argument_names) {
            let meant = self.arguments.meant_name(self.tool(), word)?;
            let message = format!("no pinned schema declares the argument `{word}`");
            return Some(refused(message, meant));
        }
        let [argument] = places else { return None };
        let [action] = self.scope.as_ref()?.actions.all.as_slice() else {
            return None;
        };
        let path = argument.argument()?;
        let meant = self.arguments.meant_value(id_of(action), path, word)?;
        let message =
            format!("`{word}` is not among the values that the schema lists for `{path}`");
        Some(refused(message, meant))
    }

    /// The tool that the policy is for, if it is for one alone.
    fn tool(&self) -> Option<&EntityUID> {
        match self.template.resource_constraint().as_inner() {
            PrincipalOrResourceConstraint::Eq(EntityReference::EUID(uid)) => Some(&**uid),
            _ => None,
        }
    }

    /// Checks the tag that an entity is tested for.
    fn tag(&mut self, places: &[ValueSource<'a>], tag: &Expr) {
        let ExprKind::Lit(Literal::String(name)) = tag.expr_kind() else {
            return;
        };
        let is_elsewhere = |it: &ValueSource<'a>| {
            it.as_entity()
                .is_none_or(|ty| self.known.come_with_requests(ty))
        };
        if places.iter().any(is_elsewhere) || self.words.has(Vocabulary::Tag, name) {
            return;
        }
        let message = Vocabulary::Tag.unknown_word_message(name);
        let help = self.words.help(Vocabulary::Tag, name);
        self.refuse(Vocabulary::Tag, &message, help, tag.source_loc());
    }

    fn like(&mut self, places: &[ValueSource<'a>], pattern: &Pattern, loc: Option<&Loc>) {
        if let Some(refusal) = canonical(places, |it| it.pattern_refusal(pattern)) {
            return self.warn(loc, &refusal.message, refusal.help);
        }
        let words = self.words;
        for vocabulary in places.iter().filter_map(ValueSource::vocabulary) {
            self.read.add_pattern(vocabulary, pattern);
        }
        let Some(vocabulary) = vocabulary(places, |it| words.has_like(it, pattern)) else {
            return;
        };
        let text = pattern.to_string();
        let help = words.help(vocabulary, &text);
        self.refuse(
            vocabulary,
            &vocabulary.unknown_word_message(&text),
            help,
            loc,
        );
    }

    fn refuse(&mut self, of: Vocabulary, message: &str, help: String, loc: Option<&Loc>) {
        if of.is_open() {
            // A registration with faults may bring the word.
            if of != Vocabulary::Method && !self.scene.unread.is_empty() {
                return;
            }
            return self.warn(loc, message, help);
        }
        let fault = self.at(loc, message);
        self.said.faults.extend(fault.map(|it| it.with_help(help)));
    }

    /// Checks `has`: a test for an attribute that no type declares is false without an error.
    fn tested(
        &mut self,
        mut places: Vec<ValueSource<'a>>,
        steps: &[&smol_str::SmolStr],
        loc: Option<&Loc>,
    ) {
        for (depth, step) in steps.iter().enumerate() {
            let Some(scope) = &self.scope else { return };
            let Some(names) = scope.attributes(&places) else {
                return;
            };
            if !names.contains(step.as_str()) {
                let message =
                    format!("there is no attribute `{step}` to test for, so this is always false");
                let is_input =
                    depth == 0 && step.as_str() == "input" && names.contains("initiator");
                let help = match nearest(step, names.iter().copied()) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None if is_input => self.scene.tools.help_for_input(self.template),
                    None => "take the test away, or add the attribute to the schema".to_owned(),
                };
                return self.warn(loc, &message, help);
            }
            places = scope.step(&places, step);
        }
    }
}

/// The vocabulary that lacks a word, if no source accepts it.
fn vocabulary(places: &[ValueSource<'_>], has: impl Fn(Vocabulary) -> bool) -> Option<Vocabulary> {
    let mut refusing = None;
    for place in places {
        match place.vocabulary() {
            Some(vocabulary) if !has(vocabulary) => refusing = Some(vocabulary),
            _ => return None,
        }
    }
    refusing
}

/// Why no source can have a value, if each is of a canonical form and refuses it.
fn canonical(
    places: &[ValueSource<'_>],
    refusal: impl Fn(CanonicalText) -> Option<Refusal>,
) -> Option<Refusal> {
    let mut first = None;
    for place in places {
        let refused = refusal(place.canonical_text()?)?;
        first.get_or_insert(refused);
    }
    first
}

/// The entities that an expression names: one, or those of a set.
fn entities(expr: &Expr) -> Vec<(&EntityUID, Option<&Loc>)> {
    match expr.expr_kind() {
        ExprKind::Lit(Literal::EntityUID(uid)) => vec![(uid, expr.source_loc().or(uid.loc()))],
        ExprKind::Set(elements) => elements.iter().flat_map(entities).collect(),
        _ => Vec::new(),
    }
}

fn compares(op: BinaryOp) -> bool {
    use BinaryOp::{Contains, ContainsAll, ContainsAny, Eq};
    matches!(op, Eq | Contains | ContainsAll | ContainsAny)
}

/// Whether an expression is a text or a set of texts.
fn holds_text(expr: &Expr) -> bool {
    match expr.expr_kind() {
        ExprKind::Lit(Literal::String(_)) => true,
        ExprKind::Set(elements) => elements.iter().any(holds_text),
        ExprKind::Record(members) => members.values().any(holds_text),
        ExprKind::If {
            then_expr,
            else_expr,
            ..
        } => holds_text(then_expr) || holds_text(else_expr),
        _ => false,
    }
}
