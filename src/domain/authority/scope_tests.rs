use super::*;
use crate::domain::fixtures::world;
use crate::domain::request::target;
use crate::domain::schema::{self, TYPES};

fn nothing() -> Scope {
    Scope {
        tools: Vec::new(),
        servers: Vec::new(),
        groups: Vec::new(),
        access: AccessLevel::Admin,
        targets: Vec::new(),
    }
}

fn place(text: &str) -> EntityUID {
    things(&[text]).remove(0).uid().clone()
}

fn things(texts: &[&str]) -> Vec<Target> {
    let thing = |text: &&str| target::parse_one("files", text).expect("a place");
    texts.iter().map(thing).collect()
}

fn places(texts: &[&str]) -> Vec<EntityUID> {
    texts.iter().map(|text| place(text)).collect()
}

#[test]
fn a_tool_is_covered_by_itself_or_its_server() {
    let snapshot = world("");
    let (read, github) = (
        schema::tool_uid("files", "read"),
        schema::server_uid(&"github".into()),
    );
    let files = schema::server_uid(&"files".into());
    let reach = RequestedAccess {
        tool: Some(&read),
        server: &files,
        access: AccessLevel::Read,
        is_incidental: false,
        targets: Some(&[]),
    };
    let covers = |scope: Scope| scope.covers(&snapshot, &reach);
    assert_eq!(
        covers(nothing()),
        Err(ScopeError::Tool("files/read".into()))
    );
    let by_tool = Scope {
        tools: vec![read.clone()],
        ..nothing()
    };
    assert_eq!(covers(by_tool), Ok(()));
    let by_server = |server: &EntityUID| Scope {
        servers: vec![server.clone()],
        ..nothing()
    };
    assert_eq!(covers(by_server(&files)), Ok(()));
    let outside = covers(by_server(&github));
    assert_eq!(outside, Err(ScopeError::Tool("files/read".into())));
}

#[test]
fn a_server_of_which_one_tool_is_delegated_may_be_looked_at_but_not_read() {
    let snapshot = world("");
    let server = schema::server_uid(&"files".into());
    let scope = Scope {
        tools: vec![schema::tool_uid("files", "read")],
        ..nothing()
    };
    let listing = RequestedAccess {
        tool: None,
        server: &server,
        access: AccessLevel::Read,
        is_incidental: true,
        targets: Some(&[]),
    };
    assert_eq!(scope.covers(&snapshot, &listing), Ok(()));
    let material = things(&["/srv/a"]);
    let reading = RequestedAccess {
        targets: Some(&material),
        is_incidental: false,
        ..listing
    };
    let outside = scope.covers(&snapshot, &reading);
    assert_eq!(outside, Err(ScopeError::Server("files".into())));
    // A prompt and the result of an earlier call have no target either, and are no list.
    let bringing = RequestedAccess {
        is_incidental: false,
        ..listing
    };
    let outside = scope.covers(&snapshot, &bringing);
    assert_eq!(outside, Err(ScopeError::Server("files".into())));
    let whole = Scope {
        servers: vec![server.clone()],
        ..nothing()
    };
    assert_eq!(whole.covers(&snapshot, &bringing), Ok(()));
    // Where it matters what is acted upon, they may act upon anything.
    let bounded = Scope {
        targets: places(&["/srv"]),
        ..whole
    };
    assert_eq!(
        bounded.covers(&snapshot, &bringing),
        Err(ScopeError::NoTarget)
    );
    assert_eq!(bounded.covers(&snapshot, &listing), Ok(()));
}

#[test]
fn every_target_has_to_be_within_a_place() {
    let snapshot = world("");
    let (tool, server) = (
        schema::tool_uid("files", "read"),
        schema::server_uid(&"files".into()),
    );
    let scope = Scope {
        tools: vec![tool.clone()],
        targets: places(&["/srv/app"]),
        ..nothing()
    };
    let covers = |targets: Option<&[&str]>| {
        let targets = targets.map(things);
        let reach = RequestedAccess {
            tool: Some(&tool),
            server: &server,
            access: AccessLevel::Read,
            is_incidental: false,
            targets: targets.as_deref(),
        };
        scope.covers(&snapshot, &reach)
    };
    assert_eq!(covers(Some(&["/srv/app", "/srv/app/a/b"])), Ok(()));
    let beside = covers(Some(&["/srv/app/a", "/srv/apple"]));
    assert_eq!(beside, Err(ScopeError::Target("file:///srv/apple".into())));
    assert_eq!(covers(Some(&[])), Err(ScopeError::NoTarget));
    // Nobody knows the targets while tools are listed.
    assert_eq!(covers(None), Ok(()));
}

#[test]
fn effects_are_ordered() {
    let snapshot = world("");
    let (tool, server) = (
        schema::tool_uid("files", "read"),
        schema::server_uid(&"files".into()),
    );
    let scope = |access| Scope {
        tools: vec![tool.clone()],
        access,
        ..nothing()
    };
    let all = [AccessLevel::Read, AccessLevel::Write, AccessLevel::Admin];
    for most in all {
        for access in all {
            let reach = RequestedAccess {
                tool: Some(&tool),
                server: &server,
                access,
                is_incidental: false,
                targets: Some(&[]),
            };
            let covered = scope(most).covers(&snapshot, &reach).is_ok();
            assert_eq!(covered, access <= most);
            let within = scope(access).is_within(&snapshot, &scope(most)).is_ok();
            assert_eq!(within, access <= most);
        }
    }
}

#[test]
fn a_scope_within_another_leaves_nothing_out() {
    let snapshot = world("");
    let wide = Scope {
        servers: vec![schema::server_uid(&"files".into())],
        groups: vec![schema::entity_uid(&TYPES.group, "staff")],
        targets: places(&["/srv"]),
        ..nothing()
    };
    let narrow = Scope {
        tools: vec![schema::tool_uid("files", "read")],
        targets: places(&["/srv/app"]),
        ..nothing()
    };
    let within = |change: &dyn Fn(&mut Scope)| {
        let mut scope = narrow.clone();
        change(&mut scope);
        scope.is_within(&snapshot, &wide)
    };
    assert_eq!(within(&|_| {}), Ok(()));
    let other = schema::tool_uid("github", "merge");
    let tool = within(&|scope| scope.tools.push(other.clone()));
    assert_eq!(tool, Err(ScopeError::Tool("github/merge".into())));
    let server = within(&|scope| scope.servers.push(schema::server_uid(&"github".into())));
    assert_eq!(server, Err(ScopeError::Server("github".into())));
    let group = within(&|scope| scope.groups.push(schema::entity_uid(&TYPES.group, "other")));
    assert_eq!(group, Err(ScopeError::Group("other".into())));
    assert_eq!(
        within(&|scope| scope.targets.clear()),
        Err(ScopeError::NoTarget)
    );
    let outside = within(&|scope| scope.targets.push(place("/etc")));
    assert_eq!(outside, Err(ScopeError::Target("file:///etc".into())));
}
