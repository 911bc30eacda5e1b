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

#[test]
fn a_list_has_what_it_is_made_of() {
    for length in 0..5 {
        let list: SharedList<u8> = (0..length).collect();
        assert_eq!(list, SharedList::from(Vec::from_iter(0..length)));
        assert_eq!(list.len(), usize::from(length));
    }
}
