use super::*;

#[test]
fn what_climbs_once_it_is_replaced_is_refused() {
    for path in [
        "/srv/shop/.${NOPE}./.${NOPE}./etc/passwd",
        "x/.$NOPE./etc",
        "x/.$1./etc",
        "x/.$?./etc",
        "x/.$-./etc",
        "x/.$env:NOPE./etc",
        "x/..$NOPE/etc",
        "x/$NOPE../etc",
        "x/$A.$B./etc",
        "x/.${a/b}./etc",
        "x/.${./etc",
        "x/${NOPE:-..}/etc",
        "x/${A:-.}./etc",
        "x/${A:-.}${B:=.}/etc",
        "x/.${A:-${B}}./etc",
        "/srv/shop/{x,../secrets}/key",
        "/srv/{shop/x,../etc}/passwd",
        "/srv/shop/x{/y,/../../evil}",
        "x/{..}/etc",
        "x/{a,..}",
        "x/{.,y}./etc",
        "x/.{,y}./etc",
        "x/.{/,.}/etc",
        "x/{{.,a},b}./etc",
        "x/.{$NOPE,y}./etc",
    ] {
        assert!(check(path).is_err(), "{path}");
    }
}

#[test]
fn names_with_the_same_marks_are_names() {
    for path in [
        "/srv/shop/users.$userId.tsx",
        "users.$userId.posts.$postId.tsx",
        "$.tsx",
        "Foo$Bar.class",
        "Foo$1.class",
        "Foo$$Lambda.class",
        "a$",
        "{id}.tsx",
        "users/{id}/edit",
        "./{id}/.env",
        "{...rest}",
        "${id}.json",
        "src/{a,b}/*.ts",
        "./src/{.eslintrc,.prettierrc}",
        "a{1..3}.txt",
        "a, b",
        "....",
    ] {
        assert_eq!(check(path), Ok(()), "{path}");
    }
}
