use super::*;
use crate::domain::request::target;
use crate::domain::schema;
use crate::store::backend::StoreWrite;

const DAY: Duration = Duration::from_secs(86_400);

fn at(text: &str) -> Target {
    target::parse_one("files", text).unwrap()
}

fn names(labels: Option<Arc<Labels>>) -> Vec<String> {
    let labels = labels.into_iter();
    let mut names: Vec<String> = labels
        .flat_map(|it| {
            it.items()
                .iter()
                .map(SmolStr::to_string)
                .collect::<Vec<_>>()
        })
        .collect();
    names.sort();
    names
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + 10_000 * DAY
}

fn places() -> ResourceLabels {
    let places = ResourceLabels::new(1_000, 30 * DAY);
    places
        .add(&at("/srv/a/notes.md"), &["untrusted".into()], now())
        .unwrap();
    places
}

fn of(places: &ResourceLabels, text: &str, now: SystemTime) -> Vec<String> {
    names(places.labels_of([&at(text)], None, now))
}

#[test]
fn what_was_written_is_known_wherever_it_can_be_read() {
    let places = places();
    for read in [
        "/srv/a/notes.md",
        "/srv/a",
        "/srv",
        "/srv/a/notes.md/part",
        "file:///srv/a",
    ] {
        assert_eq!(of(&places, read, now()), ["untrusted"], "{read}");
    }
    for read in [
        "/srv/a/notes.md2",
        "/srv/b",
        "/srv/a/other",
        "https://srv/a",
        "a",
    ] {
        assert_eq!(of(&places, read, now()), [""; 0], "{read}");
    }
}

#[test]
fn labels_count_for_their_time_after_the_last_write() {
    let places = places();
    let later = now() + 29 * DAY;
    places
        .add(&at("/srv/a/notes.md"), &["private".into()], later)
        .unwrap();
    assert_eq!(of(&places, "/srv/a", later), ["private", "untrusted"]);
    assert_eq!(of(&places, "/srv/a", later + 2 * DAY), ["private"]);
    places.sweep(later + 31 * DAY);
    assert!(places.is_empty());
}

fn is_saturated(places: &ResourceLabels, now: SystemTime) -> bool {
    let any = LabelCarrierRef::AnyResource;
    places.0.recent(any, LabelWindow::All, now).is_some()
}

#[test]
fn without_room_every_place_counts() {
    let places = ResourceLabels::new(4, 30 * DAY);
    for file in ["/a/1", "/b/2", "/c/3", "/d/4"] {
        let written = places.add(&at(file), &["untrusted".into()], now()).unwrap();
        assert!(!written.is_empty(), "{file}");
    }
    assert!(is_saturated(&places, now()));
    assert_eq!(
        of(&places, "https://elsewhere.example", now()),
        ["untrusted"]
    );
    assert!(!is_saturated(&places, now() + 31 * DAY));
}

#[test]
fn what_is_written_to_the_store_comes_back() {
    let places = ResourceLabels::new(1_000, 30 * DAY);
    let labels = ["untrusted".into()];
    let writes = places.add(&at("/srv/a"), &labels, now()).unwrap();
    assert_eq!(writes.len(), 3, "the place, /srv and /");
    let mut stored = Vec::new();
    for write in &writes {
        let StoreWrite::Labels {
            carrier, labels, ..
        } = write
        else {
            panic!("{write:?}");
        };
        places.mark_written(carrier, labels);
        for brought in labels {
            stored.push(StoredLabel {
                carrier: carrier.clone(),
                brought: brought.clone(),
            });
        }
    }
    assert!(
        places
            .add(&at("/srv/a"), &labels, now())
            .unwrap()
            .is_empty()
    );
    let again = ResourceLabels::new(1_000, 30 * DAY);
    again.restore(stored);
    assert_eq!(of(&again, "/srv", now() + 29 * DAY), ["untrusted"]);
}

#[test]
fn who_names_no_target_finds_what_was_written_through_the_server() {
    let places = ResourceLabels::new(1_000, 30 * DAY);
    let [files, web] = ["files", "web"].map(schema::everything_on);
    let unnamed = |place: &EntityUID| names(places.labels_of([], Some(place), now()));
    assert_eq!(unnamed(&files), [""; 0]);
    places
        .add_within(&files, &["untrusted".into()], now())
        .unwrap();
    assert_eq!(unnamed(&files), ["untrusted"]);
    assert_eq!(unnamed(&web), [""; 0]);
    assert_eq!(names(places.labels_of([], None, now())), [""; 0]);
    assert_eq!(of(&places, "/srv/a", now()), [""; 0]);
}
