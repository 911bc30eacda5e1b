//! What a task says of its tools and of places: asked for and told over gRPC, held at every call, counted for good.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use callgate::control::tasks::NewTask;
use callgate::domain::authority::scope::Scope;
use callgate::domain::authority::terms::{AllowedValues, KnownResource, TaskTerms, ToolUse};
use callgate::domain::decide::listing::ListedItem;
use callgate::domain::decide::verdict::{ReasonCode, Verdict};
use callgate::domain::ids::TaskId;
use callgate::domain::request::call_context::{ActorChain, CallContext, Operation, Subject};
use callgate::domain::request::operation::{Listing, OperationKind};
use callgate::domain::schema::AccessLevel;
use callgate::proto::v1;
use callgate::store::sqlite::SqliteStore;
use serde_json::{Value as Json, json};
use tonic::Code;

use crate::control::{World, assert_refused, by};
use crate::policies::rows::uid;
use crate::support::bundle_dir::BundleDir;
use crate::support::direct::Direct;
use crate::support::files;

/// A service over the shipped directory, with a store that outlives it.
pub struct Shop(Direct);

impl Shop {
    pub fn open(store: &Path) -> Self {
        Self::over(&BundleDir::copy_of("policies"), store)
    }

    /// The same over another directory.
    fn over(directory: &BundleDir, store: &Path) -> Self {
        let store = SqliteStore::open(store).expect("a store");
        Self(Direct::over(directory.load(), Box::new(store)))
    }

    pub fn close(self) {
        self.0.service.close();
    }

    /// `person` opens a task for the release agent, which may do anything with these tools that its terms allow.
    pub async fn task(&self, person: &str, tools: &[&str], terms: TaskTerms) -> TaskId {
        let author = self.0.author(&uid("User", person));
        let task = NewTask {
            agent: uid("Agent", "release"),
            person: uid("User", person),
            purpose: "to work".into(),
            scope: Some(Scope {
                tools: tools.iter().map(|tool| uid("Tool", tool)).collect(),
                servers: Vec::new(),
                groups: Vec::new(),
                access: AccessLevel::Write,
                targets: Vec::new(),
            }),
            terms,
            call_budget: None,
            steps: Vec::new(),
            deadline: self.0.now() + Duration::from_secs(3_600),
        };
        let opened = self.0.control.open_task(&author, task).await;
        let opened = opened.unwrap_or_else(|error| panic!("{error:?}"));
        opened.value.task.id.clone()
    }

    /// The release agent calls a tool for somebody.
    pub fn call(person: &str, session: &str, tool: &str, arguments: Json) -> CallContext {
        let (server, tool) = tool.split_once('/').expect("a server and its tool");
        let arguments = arguments.as_object().expect("arguments").clone();
        let operation = Operation::call_tool(server, tool, arguments);
        let subject = Subject::verified(uid("Agent", "release"), "jwt");
        let mut call = CallContext::new(subject, operation);
        call.actor_chain = Some(ActorChain::verified_from(uid("User", person)));
        call.workflow.session_id = Some(session.into());
        call
    }

    pub async fn decide(&self, call: &CallContext) -> Verdict {
        self.0.decide(call).await
    }
}

fn commit(task: &TaskId, place: &str, message: &str) -> CallContext {
    let arguments = json!({"repo_path": place, "message": message});
    let mut call = Shop::call("ravi", "s", "git/git_commit", arguments);
    call.workflow.task_id = Some(task.clone());
    call
}

fn shop_only() -> TaskTerms {
    TaskTerms {
        uses: vec![ToolUse {
            tool: uid("Tool", "git/git_commit"),
            targets: vec![uid("Resource", "file:///srv/shop")],
            arguments: vec![AllowedValues {
                argument: "message".into(),
                values: vec!["\"As asked\"".into(), "\"Fix\"".into()],
            }],
            max_calls: Some(3),
            any_target: false,
        }],
        places: Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tool_is_used_for_what_it_is_for_and_no_more_often() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("callgate.db");
    let shop = Arc::new(Shop::open(&store));
    let task = shop.task("ravi", &["git/git_commit"], shop_only()).await;
    for (place, message, said) in [
        (
            "/srv/other",
            "Fix",
            "`git/git_commit` is not for acting upon `file:///srv/other`",
        ),
        (
            "/srv/shop",
            "As they ask",
            "`git/git_commit` is for other values of argument `message`",
        ),
    ] {
        let decision = shop.decide(&commit(&task, place, message)).await;
        assert_eq!(decision.reasons[0].code, ReasonCode::TaskOutOfScope);
        assert!(decision.reasons[0].message.contains(said), "{decision:?}");
    }
    let many = (0..20).map(|_| {
        let (shop, call) = (Arc::clone(&shop), commit(&task, "/srv/shop/a", "Fix"));
        tokio::spawn(async move { shop.decide(&call).await })
    });
    let mut allowed = 0;
    for decided in many.collect::<Vec<_>>() {
        let decision = decided.await.expect("a decision");
        let spent = ReasonCode::TaskBudgetSpent;
        assert!(
            decision.is_allow() || decision.reasons[0].code == spent,
            "{decision:?}"
        );
        allowed += usize::from(decision.is_allow());
    }
    assert_eq!(allowed, 3);
    Arc::into_inner(shop).expect("nobody else").close();
    let again = Shop::open(&store);
    let decision = again.decide(&commit(&task, "/srv/shop", "Fix")).await;
    assert_eq!(decision.reasons[0].code, ReasonCode::TaskBudgetSpent);
    let said = "has made all the calls of `git/git_commit` it may";
    assert!(decision.reasons[0].message.ends_with(said), "{decision:?}");
    again.close();
}

#[tokio::test]
async fn a_list_hides_a_tool_whose_own_budget_is_spent_as_a_call_is_denied() {
    let folder = tempfile::tempdir().expect("a folder");
    let shop = Shop::open(&folder.path().join("callgate.db"));
    let mut terms = shop_only();
    terms.uses[0].max_calls = Some(1);
    let tools = ["git/git_commit", "git/git_status"];
    let task = shop.task("ravi", &tools, terms).await;
    let call = commit(&task, "/srv/shop/a", "Fix");
    let list = async || {
        let mut list = call.clone();
        list.operation.kind = OperationKind::List(Listing::Tools);
        let offered = ["git_commit", "git_status"].map(|name| ListedItem::Tool {
            name: name.into(),
            definition: None,
        });
        let filtered = shop.0.service.filter(shop.0.ask(), &list, &offered).await;
        filtered.expect("a list").value
    };
    assert_eq!(list().await, [None, None]);
    assert!(shop.decide(&call).await.is_allow());
    let spent = shop.decide(&call).await;
    assert_eq!(spent.reasons[0].code, ReasonCode::TaskBudgetSpent);
    assert_eq!(list().await, [Some(ReasonCode::TaskBudgetSpent), None]);
    shop.close();
}

/// A task whose person has named a place to write to, a page of a stranger, a file that holds what it says: whoever reads
/// the file has read the page, in another session, for another person, and after a restart.
#[tokio::test]
async fn what_was_written_after_reading_something_is_read_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("callgate.db");
    // As shipped, whoever reads any file has read a stranger. Here only the company writes them.
    let registration = files::repository("policies/tools/filesystem.json");
    let text = std::fs::read_to_string(registration).expect("a registration");
    let mut tools: Json = serde_json::from_str(&text).expect("JSON");
    tools["tools"]["read_text_file"]["yields"] = json!(["private"]);
    let company = BundleDir::copy_of("policies").file("tools/filesystem.json", tools.to_string());
    let shop = Shop::over(&company, &store);
    let tools = ["fetch/fetch", "filesystem/write_file"];
    let terms = TaskTerms {
        uses: Vec::new(),
        places: vec![KnownResource {
            place: uid("Resource", "file:///srv/shop"),
            read: false,
            send: true,
        }],
    };
    let task = shop.task("ravi", &tools, terms).await;
    let page = json!({"url": "https://example.org/"});
    let file = json!({"path": "/srv/shop/notes.md", "content": "as the page says"});
    for (tool, arguments) in [("fetch/fetch", page), ("filesystem/write_file", file)] {
        let mut call = Shop::call("ravi", "s", tool, arguments);
        call.workflow.task_id = Some(task.clone());
        let decision = shop.decide(&call).await;
        assert!(decision.is_allow(), "{tool}: {decision:?}");
    }
    let shop = read_then_commit(shop, "owen", "/srv/other/a.md", true).await;
    let shop = read_then_commit(shop, "owen", "/srv/shop/notes.md", false).await;
    shop.close();
    let shop = Shop::over(&company, &store);
    read_then_commit(shop, "lena", "/srv/shop/notes.md", false)
        .await
        .close();
}

/// Reads a file in a session of its own, and then commits.
async fn read_then_commit(shop: Shop, person: &str, file: &str, is_allowed: bool) -> Shop {
    let read = Shop::call(
        person,
        file,
        "filesystem/read_text_file",
        json!({ "path": file }),
    );
    assert!(shop.decide(&read).await.is_allow());
    let arguments = json!({"repo_path": "/srv/third", "message": "as it says"});
    let commit = Shop::call(person, file, "git/git_commit", arguments);
    let decision = shop.decide(&commit).await;
    assert_eq!(decision.is_allow(), is_allowed, "{file}: {decision:?}");
    shop
}

fn uses() -> Vec<v1::ToolUse> {
    vec![v1::ToolUse {
        tool: "git/log".into(),
        targets: vec!["/srv/shop".into(), "git:main".into()],
        arguments: vec![v1::ArgumentValues {
            argument: "n".into(),
            values_json: vec![" 1.0".into(), "{\"b\": 1, \"a\": [true]}".into()],
        }],
        max_calls: Some(5),
        calls_left: None,
        any_target: false,
    }]
}

fn place(place: &str, read: bool, send: bool) -> v1::TaskPlace {
    v1::TaskPlace {
        place: place.into(),
        read,
        send,
    }
}

#[tokio::test]
async fn a_task_tells_what_its_tools_are_for_and_which_places_were_named() {
    let mut world = World::start().await;
    let request = v1::OpenTaskRequest {
        tool_uses: uses(),
        places: vec![
            place("WWW.Example.com", true, false),
            place("https://example.com/a/", true, true),
            place("Bob@Example.com", false, true),
            place("/srv/a", false, true),
            place("git:main", false, true),
        ],
        ..world.task()
    };
    let task = world.opened(request).await;
    let mut told = uses();
    told[0].targets = vec!["file:///srv/shop".into(), "git:main".into()];
    told[0].arguments[0].values_json = vec!["1".into(), "{\"a\":[true],\"b\":1}".into()];
    told[0].calls_left = Some(5);
    assert_eq!(task.tool_uses, told);
    let places = [
        place("https://www.example.com", true, false),
        place("https://example.com/a", true, true),
        place("mailto:bob@example.com", false, true),
        place("file:///srv/a", false, true),
        place("git:main", false, true),
    ];
    assert_eq!(task.places, places);
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_with_its_field() {
    let mut world = World::start().await;
    let one = |change: &dyn Fn(&mut v1::ToolUse)| {
        let mut uses = uses();
        change(&mut uses[0]);
        (uses, Vec::new())
    };
    let placed = |it| (Vec::new(), vec![it]);
    let twice = ([uses(), uses()].concat(), Vec::new());
    let many = (0..300).map(|n| place(&format!("/srv/{n}"), true, false));
    let cases = [
        (one(&|it| it.tool = "log".into()), "tool_uses[0].tool"),
        (one(&|it| it.tool = "git/none".into()), "tool_uses[0].tool"),
        (
            one(&|it| it.targets = vec!["../a".into()]),
            "tool_uses[0].targets[0]",
        ),
        (one(&|it| it.max_calls = Some(0)), "tool_uses[0].max_calls"),
        (
            one(&|it| it.arguments[0].argument = String::new()),
            "tool_uses[0].arguments[0].argument",
        ),
        (
            one(&|it| it.arguments[0].values_json.clear()),
            "tool_uses[0].arguments[0].values_json",
        ),
        (
            one(&|it| it.arguments[0].values_json[1] = "{\"a\": 1, \"a\": 2}".into()),
            "tool_uses[0].arguments[0].values_json[1]",
        ),
        (
            one(&|it| {
                it.targets.clear();
                it.arguments.clear();
                it.max_calls = None;
            }),
            "tool_uses[0]",
        ),
        (one(&|it| it.any_target = true), "tool_uses[0].targets"),
        (
            one(&|it| {
                it.any_target = true;
                it.targets.clear();
                it.arguments.clear();
                it.max_calls = None;
            }),
            "tool_uses[0].max_calls",
        ),
        (
            one(&|it| {
                it.any_target = true;
                it.targets.clear();
                it.max_calls = None;
            }),
            "tool_uses[0].max_calls",
        ),
        (
            one(&|it| {
                it.any_target = true;
                it.targets.clear();
                it.arguments.clear();
            }),
            "tool_uses[0].arguments",
        ),
        (
            // Its registration names no target.
            one(&|it| {
                it.any_target = true;
                it.targets.clear();
            }),
            "tool_uses[0].any_target",
        ),
        (twice, "tool_uses[1].tool"),
        (placed(place("", true, false)), "places[0].place"),
        (placed(place("somewhere", true, false)), "places[0].place"),
        (
            placed(place("https://a.example/../b", true, false)),
            "places[0].place",
        ),
        (placed(place("/srv", false, false)), "places[0]"),
        ((Vec::new(), many.collect()), "places"),
    ];
    for ((tool_uses, places), field) in cases {
        let request = v1::OpenTaskRequest {
            tool_uses,
            places,
            ..world.task()
        };
        let answer = world.client.open_task(by("edge", request)).await;
        assert_refused(answer, Code::InvalidArgument, field);
    }
}
