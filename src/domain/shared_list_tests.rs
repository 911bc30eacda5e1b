use super::*;

#[test]
fn a_clone_has_the_same_memory_and_an_empty_list_has_none() {
    let list = SharedList::from(vec![1, 2]);
    assert_eq!(&*list, &[1, 2]);
    assert_eq!(list.as_ptr(), list.clone().as_ptr());
    assert!(SharedList::<u8>::from(Vec::new()).0.is_none());
    assert_eq!(SharedList::<u8>::default(), SharedList::from([]));
    assert_ne!(SharedList::default(), list);
}
