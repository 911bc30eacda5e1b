use super::*;
use crate::audit::counted_wakes::CountedWakes;

fn poll(receipt: &mut BatchReceipt, waker: &Arc<CountedWakes>) -> Poll<bool> {
    let waker = Waker::from(Arc::clone(waker));
    Pin::new(receipt).poll(&mut Context::from_waker(&waker))
}

#[test]
fn everyone_who_waits_hears_it_once() {
    let promise = BatchPromise::default();
    let woken = [
        Arc::new(CountedWakes::default()),
        Arc::new(CountedWakes::default()),
    ];
    let mut receipts = [promise.receipt(), promise.receipt()];
    for _ in 0..3 {
        assert_eq!(poll(&mut receipts[0], &woken[0]), Poll::Pending);
    }
    // Another task goes on waiting in the place of the first.
    assert_eq!(poll(&mut receipts[1], &woken[0]), Poll::Pending);
    assert_eq!(poll(&mut receipts[1], &woken[1]), Poll::Pending);
    let mut late = promise.receipt();
    promise.tell(true);
    assert_eq!(woken.each_ref().map(|it| it.get()), [1, 1]);
    for receipt in receipts.iter_mut().chain([&mut late]) {
        assert_eq!(poll(receipt, &woken[0]), Poll::Ready(true));
    }
}

#[test]
fn an_untold_or_failed_batch_is_not_recorded() {
    let waker = Arc::new(CountedWakes::default());
    for tell in [|promise: BatchPromise| promise.tell(false), drop] {
        let promise = BatchPromise::default();
        let mut receipt = promise.receipt();
        assert_eq!(poll(&mut receipt, &waker), Poll::Pending);
        tell(promise);
        assert_eq!(poll(&mut receipt, &waker), Poll::Ready(false));
    }
    assert_eq!(waker.get(), 2);
}

#[test]
fn nobody_misses_it_who_begins_to_wait_meanwhile() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    for _ in 0..500 {
        let promise = BatchPromise::default();
        let waiting: Vec<_> = (0..4).map(|_| runtime.spawn(promise.receipt())).collect();
        promise.tell(true);
        for one in waiting {
            assert!(runtime.block_on(one).unwrap());
        }
    }
}

#[test]
fn one_that_is_not_polled_any_more_holds_nobody_up() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    let promise = BatchPromise::default();
    let unpolled = Arc::new(CountedWakes::default());
    let mut first = promise.receipt();
    {
        let _of_runtime = runtime.enter();
        assert_eq!(poll(&mut first, &unpolled), Poll::Pending);
    }
    let others: Vec<_> = (0..3).map(|_| runtime.spawn(promise.receipt())).collect();
    while promise.0.waiting().wakers.len() < 4 {
        std::thread::yield_now();
    }
    promise.tell(true);
    for other in others {
        assert!(runtime.block_on(other).unwrap());
    }
    assert_eq!(unpolled.get(), 1);
}

#[test]
fn those_of_a_runtime_that_has_ended_are_woken_as_well() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    let promise = BatchPromise::default();
    let woken = Arc::new(CountedWakes::default());
    let mut receipts = [promise.receipt(), promise.receipt()];
    {
        let _of_runtime = runtime.enter();
        for receipt in &mut receipts {
            assert_eq!(poll(receipt, &woken), Poll::Pending);
        }
    }
    drop(runtime);
    promise.tell(true);
    assert_eq!(woken.get(), 2);
}
