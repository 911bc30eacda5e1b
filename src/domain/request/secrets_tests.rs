use proptest::prelude::*;

use super::*;

#[test]
fn secrets_are_found_in_many_languages() {
    for text in [
        "API key",
        "apiKey",
        "API-Keys",
        "api_key",
        "APIKey",
        "userPin",
        "CVV2",
        "your pass word",
        "Passwort",
        "PASSWORT",
        "Ihr Kennwort",
        "Kreditkartennummer",
        "API-Schlüssel",
        "Prüfziffer",
        "mot de passe",
        "Mots de passe",
        "clé d'accès",
        "Carte bancaire",
        "contraseña",
        "CONTRASEÑA",
        "Introduzca su clave",
        "Nova senha",
        "암호를 입력하세요",
        "senha",
        "Código de segurança",
        "cartão de crédito",
        "Chiave privata",
        "wachtwoord",
        "hasło",
        "пароль",
        "введите пароль",
        "密码",
        "请输入密码",
        "驗證碼",
        "パスワード",
        "ﾊﾟｽﾜｰﾄﾞ",
        "暗証番号を入力",
        "비밀번호",
        "Bearer",
        "mnemonic",
        "session_cookie",
        "access code",
        "Your security answer",
        "كلمة المرور",
        "كلمة السر",
        "סיסמה",
        "รหัสผ่านของคุณ",
        "Mật khẩu",
        "Şifre",
        "ŞİFRENİZ",
        "Κωδικός πρόσβασης",
        "ΚΩΔΙΚΟΣ ΠΡΟΣΒΑΣΗΣ",
        "συνθηματικό",
        "Heslo",
        "jelszó",
        "a jelszavát",
        "salasana",
        "Lösenord",
        "adgangskode",
        "passord",
    ] {
        assert!(names_secret(text), "{text}");
    }
}

#[test]
fn some_names_ask_for_a_secret_only_as_the_whole_name_of_a_field() {
    for name in [
        "pass",
        "Pass",
        "pa$$",
        "user_pass",
        "2fa",
        "auth",
        "cardNo",
        "card_no",
    ] {
        assert!(names_secret_field(name), "{name}");
    }
    for text in [
        "boarding pass",
        "the card no longer works",
        "Enable 2FA?",
        "author",
        "parola chiave",
    ] {
        assert!(!names_secret_field(text), "{text}");
    }
}

#[test]
fn other_letters_for_the_same_word_do_not_hide_it() {
    for text in [
        "pass\u{200b}word",
        "pass\u{ad}word",
        "p\u{2060}a\u{feff}ssword",
        "pa\u{e0020}ssword",
        "ｐａｓｓｗｏｒｄ",
        "ＰＡＳＳＷＯＲＤ",
        "p\u{301}a\u{308}sswo\u{323}rd",
        "pássẅörd",
        "раssword",
        "раѕѕԝоrԁ",
        "РАSSWORD",
        "ТОКЕN",
        "tоkеn",
        "ѕесrеt",
        "ρassword",
        "𝓹𝓪𝓼𝓼𝔀𝓸𝓻𝓭",
        "ⓟⓐⓢⓢⓦⓞⓡⓓ",
        "ᴘᴀꜱꜱᴡᴏʀᴅ",
        "p4ssw0rd",
        "p@ssw0rd",
        "pa$$word",
        "P@55W0RD",
        "s3cr3t",
        "t0k3n",
        "credentia1",
        "p1n",
        "p a s s w o r d",
        "p.a.s.s.w.o.r.d",
        "p-i-n",
        "pAsSwOrD",
        "pass*word",
        "\u{202e}drowssap",
        "pass\u{200d}\u{200b} word",
    ] {
        assert!(names_secret(text), "{}", text.escape_unicode());
    }
}

#[test]
fn what_only_looks_a_little_like_a_secret_is_none() {
    for text in [
        "tokyo",
        "palabra clave",
        "parola chiave",
        "resenha",
        "desenha",
        "segretaria",
        "Geheimtipp",
        "암호화폐",
        "Is it in Tokyo?",
        "opinion",
        "shipping",
        "lessn",
        "Spinning",
        "Going into Kenya?",
        "Send it to Ken",
        "toKen",
        "Compass code",
        "Bypass words",
        "secretary",
        "Secretariat",
        "la secretaria",
        "secrétaire",
        "hormone secretion",
        "Price in PLN",
        "pallbearer",
        "forbearer",
        "Ihre Meinung",
        "Größe",
        "Adresse",
        "adresse e-mail",
        "Nombre y apellidos",
        "código postal",
        "Endereço",
        "Straße",
        "名前",
        "住所を入力してください",
        "지역을 선택하세요",
        "город",
        "имя",
        "2025-11-25",
        "a@b.example",
        "100 $",
        "Ready!",
        "",
        " ",
        "boarding pass",
        "key",
        "card",
        "code",
    ] {
        assert!(!names_secret(text), "{text}");
    }
}

proptest! {
    #[test]
    fn what_is_not_seen_changes_nothing(
        word in prop::sample::select(vec!["password", "contraseña", "パスワード", "пароль", "密码"]),
        hidden in prop::collection::vec(
            prop::sample::select(vec!['\u{200b}', '\u{200c}', '\u{ad}', '\u{feff}', '\u{2063}', '\u{fe0f}']),
            1..6,
        ),
        before in "[a-z ]{0,5} ",
    ) {
        let mut text = before;
        for (index, c) in word.chars().enumerate() {
            text.push(c);
            text.extend(hidden.get(index));
        }
        prop_assert!(names_secret(&text));
    }

    #[test]
    fn no_text_is_too_odd_to_be_read(text in any::<String>()) {
        names_secret(&text);
    }
}
