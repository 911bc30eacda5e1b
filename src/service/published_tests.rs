use super::*;

struct Panics;

impl PrepareBundle for Panics {
    fn id(&self, _: &[u8]) -> Result<BundleId, String> {
        Ok(BundleId::from("a"))
    }

    fn prepare(&self, _: &[u8]) -> Result<PreparedBundle, String> {
        panic!("as asked")
    }
}

#[tokio::test]
async fn an_archive_at_which_compiling_panics_does_not_compile() {
    let bundles = Arc::new(PublishedBundles::default());
    bundles.set_preparer(Arc::new(Panics));
    let id = BundleId::from("a");
    bundles.begin(&id, Arc::from(&b"archive"[..]));
    let state = bundles.wait(&id, Duration::from_secs(20)).await;
    assert!(matches!(state, Preparation::Faulty(why) if why.contains("as asked")));
}
