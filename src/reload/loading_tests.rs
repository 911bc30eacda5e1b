use super::*;

#[test]
fn whoever_waits_for_a_load_that_panics_hears_so_at_once() {
    let loader = Loader::new(Path::new("policies"));
    // None of them counts as one that hangs.
    for _ in 0..2 * MAX_HANGING {
        let (sender, result) = mpsc::channel();
        let tell = move |done| drop(sender.send(done));
        let work = || -> Result<(), BundleError> { panic!("as asked") };
        loader.begin(work, tell).expect("a thread");
        let said = loader.wait(&result, &LoadStage::default());
        let said = said.expect_err("a fault").to_string();
        assert!(said.contains("loading it panicked: as asked"), "{said}");
    }
}
