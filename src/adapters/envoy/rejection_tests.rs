use super::*;

#[test]
fn the_log_says_what_to_set_where_it_is_most_likely_the_configuration() {
    for (said, settings) in [
        (UNIDENTIFIED, ["`[[envoy.identity]]`", "Envoy"]),
        (NO_SERVER, ["`envoy.servers`", "`envoy.routes`"]),
        (REPLIES, ["`ext_proc`", "`envoy.pass_replies`"]),
    ] {
        let logged = EnvoyRejection::new(403, said).logged();
        assert!(logged.starts_with(said), "{logged}");
        assert!(settings.iter().all(|it| logged.contains(it)), "{logged}");
    }
    assert_eq!(EnvoyRejection::new(400, "a body").logged(), "a body");
}
