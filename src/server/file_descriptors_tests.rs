use super::*;

#[test]
fn connections_leave_descriptors_to_everything_else() {
    let limits = Limits::default();
    for (open_files, connections) in [
        (None, 4_096),
        (Some(1_048_576), 4_096),
        (Some(4_352), 4_096),
        (Some(4_351), 4_095),
        (Some(1_024), 768),
        (Some(256), 128),
        (Some(1), 1),
        (Some(0), 1),
    ] {
        let fitted = fit_connections(&limits, open_files);
        assert_eq!(fitted.connections, connections, "{open_files:?}");
        let but = Limits {
            connections: limits.connections,
            ..fitted
        };
        assert_eq!(but, limits);
    }
}

#[test]
fn the_limit_is_raised_as_far_as_it_may_be() {
    let raised = raise_limit();
    assert_eq!(raised, getrlimit(Resource::Nofile).maximum);
}
