//! Whether a text names a secret: a password, key, token or payment data.
//!
//! Texts and words are normalized first, because a request for a secret may be disguised: compatibility forms
//! (Unicode NFKD), invisible characters, diacritics and confusables (UTS 39). A second pass reads digits as
//! letters. The result is a heuristic: a fact for policies, not a proof.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_security::skeleton;

/// Words that name a secret wherever they occur in a word, or as a sequence of words. One string for each
/// language, with several words of a language concatenated by spaces.
const WORDS: [&str; 23] = [
    // English
    "password passwd passphrase passcode passkey secret token credential apikey accesskey \
     privatekey signingkey encryptionkey masterkey sshkey authcode onetimecode \
     verificationcode securitycode recoverycode backupcode mfacode 2facode pincode pinnumber \
     accesscode securityanswer sessioncookie mnemonic seedphrase recoveryphrase creditcard debitcard cardnumber bankaccount socialsecurity",
    // German
    "passwort kennwort losungswort geheim zugangsdaten anmeldedaten apischlüssel \
     zugriffsschlüssel privaterschlüssel sicherheitscode bestätigungscode \
     wiederherstellungscode kreditkarte kartennummer prüfziffer kontonummer",
    // French
    "motdepasse motsdepasse phrasesecrète cléapi clédapi cléprivée clédaccès jetondaccès \
     identifiantsdeconnexion codedevérification codedesécurité codeconfidentiel cartebancaire \
     cartedecrédit numérodecarte",
    // Spanish
    "contraseña suclave tuclave claveactual nuevaclave clavepersonal clavedeacceso \
     claveprivada clavesecreta claveapi clavedeapi frasesemilla credencial \
     códigodeverificación códigodeseguridad tarjetadecrédito tarjetadedébito númerodetarjeta",
    // Portuguese
    "palavrapasse segredo chavedeacesso chaveprivada chaveapi chavedeapi credenciais \
     códigodeverificação códigodesegurança cartãodecrédito númerodocartão",
    // Italian
    "parolad'ordine segreto segreta chiaveapi chiaveprivata chiavediaccesso credenziali \
     codicediverifica codicedisicurezza cartadicredito numerodellacarta",
    // Dutch
    "wachtwoord geheim toegangscode privésleutel apisleutel inloggegevens",
    // Polish
    "hasło hasła kluczapi kluczprywatny kartykredytowej numerkarty",
    // Russian
    "парол секрет токен ключapi apiключ приватныйключ номеркарты кодподтверждения",
    // Chinese
    "密码 密碼 口令 密钥 密鑰 私钥 私鑰 令牌 凭据 憑證 验证码 驗證碼 助记词 助記詞 信用卡 银行卡 卡号 卡號 安全码",
    // Japanese
    "パスワード パスフレーズ パスコード 暗証番号 合言葉 秘密鍵 秘密の トークン シークレット apiキー アクセスキー 認証コード 確認コード クレジットカード カード番号 \
     セキュリティコード",
    // Korean
    "비밀번호 패스워드 암호를 암호입력 비밀키 개인키 토큰 인증번호 인증코드 신용카드 카드번호",
    // Arabic
    "كلمةالمرور كلمةالسر كلمةمرور كلمةسر",
    // Hebrew
    "סיסמה סיסמא סיסמת",
    // Thai
    "รหัสผ่าน",
    // Vietnamese
    "mậtkhẩu",
    // Turkish
    "şifre parolanız",
    // Greek
    "κωδικόςπρόσβασης κωδικόπρόσβασης συνθηματικό",
    // Czech
    "heslo",
    // Hungarian
    "jelszó jelszav",
    // Finnish
    "salasana",
    // Swedish
    "lösenord",
    // Danish and Norwegian
    "adgangskode kodeord passord",
];

/// Names of fields that ask for a secret, and are no such word within a text.
const FIELD_NAMES: [&str; 7] = ["pass", "auth", "2fa", "mfa", "cardno", "userpass", "parola"];

/// Words too short or too common to count unless they stand alone.
const WHOLE_WORDS: [&str; 14] = [
    "pin", "otp", "totp", "cvv", "cvc", "iban", "ssn", "pwd", "pw", "mdp", "bearer", "creds",
    "senha", "senhas",
];

/// Words that contain one of [`WORDS`] and name no secret.
const HARMLESS: [&str; 5] = [
    "secretar",
    "secretair",
    "secretion",
    "segretar",
    "geheimtip",
];
/// Two words that together look like one of [`WORDS`]: "send it to Ken".
const HARMLESS_PAIR: [&str; 2] = ["to", "ken"];

/// Letters that look like small capitals, where Unicode's confusables map to these.
const SMALL_CAPITALS: &str = "ᴀaʙbᴄcᴅdᴇeꜰfɢgʜhɪiᴊjᴋkĸkʟlᴍmʍmɴnᴏoᴘpʀrꜱsᴛtᴜuᴠvᴡwʏyᴢz";

/// The normalized words.
static FOLDED: LazyLock<SecretWords> = LazyLock::new(|| {
    let all = WORDS.iter().flat_map(|words| words.split_whitespace());
    SecretWords::of(all.map(|word| words_of(word, false).concat()))
});
/// The normalized words with digits read as letters, and `l` as `i`, because 1 may stand for either.
static BLURRED: LazyLock<SecretWords> =
    LazyLock::new(|| SecretWords::of(FOLDED.names.iter().map(|word| blurred(word))));

/// A set of words to search for.
struct SecretWords {
    names: HashSet<String>,
    by_first_letter: HashMap<char, Vec<String>>,
    /// The length of the longest word in bytes.
    longest: usize,
}

impl SecretWords {
    fn of(names: impl Iterator<Item = String>) -> Self {
        let names: HashSet<String> = names.collect();
        let mut by_first_letter: HashMap<char, Vec<String>> = HashMap::new();
        for name in &names {
            let letter = name.chars().next().unwrap_or_default();
            by_first_letter
                .entry(letter)
                .or_default()
                .push(name.clone());
        }
        Self {
            by_first_letter,
            longest: names.iter().map(String::len).max().unwrap_or(0),
            names,
        }
    }

    /// Whether a word contains one of them.
    fn are_in(&self, word: &str) -> bool {
        word.char_indices().any(|(at, letter)| {
            let names = self.by_first_letter.get(&letter);
            names.is_some_and(|names| names.iter().any(|name| word[at..].starts_with(name)))
        })
    }
}

/// Whether a text names a secret: `apiKey`, `API key` and `api_key` are equal.
pub(crate) fn names_secret(text: &str) -> bool {
    // With a bidirectional override, a text is displayed in another order than programs read it.
    if text.contains(['\u{202d}', '\u{202e}']) {
        return true;
    }
    if holds(&words_of(text, false), &FOLDED) {
        return true;
    }
    let has_stand_ins = text.chars().any(|c| stand_in(c) != c);
    if !has_stand_ins {
        return false;
    }
    let words = words_of(text, true);
    let is_whole = |word: &String| WHOLE_WORDS.contains(&word.as_str());
    if words.iter().any(is_whole) {
        return true;
    }
    let words: Vec<_> = words.iter().map(|word| blurred(word)).collect();
    holds(&words, &BLURRED)
}

/// Whether the name of a field names a secret: as a text does, or by all of it.
pub(crate) fn names_secret_field(name: &str) -> bool {
    let is_whole = |with_stand_ins| {
        let name = words_of(name, with_stand_ins).concat();
        FIELD_NAMES.contains(&name.as_str())
    };
    names_secret(name) || is_whole(false) || is_whole(true)
}

/// Whether one of the words, or a sequence of them, names a secret.
fn holds(words: &[String], secrets: &SecretWords) -> bool {
    words.iter().any(|word| is_secret(word, secrets))
        || (0..words.len()).any(|first| run_is_secret(&words[first..], secrets))
}

fn is_secret(word: &str, secrets: &SecretWords) -> bool {
    let bare = word.trim_end_matches(|c: char| c.is_ascii_digit());
    if WHOLE_WORDS.contains(&word) || WHOLE_WORDS.contains(&bare) {
        return true;
    }
    if !secrets.are_in(word) {
        return false;
    }
    let mut rest = word.to_owned();
    for harmless in HARMLESS {
        rest = rest.replace(harmless, " ");
    }
    secrets.are_in(&rest)
}

/// Whether the first words, concatenated, name a secret.
fn run_is_secret(words: &[String], secrets: &SecretWords) -> bool {
    let mut run = String::new();
    for (index, word) in words.iter().enumerate() {
        run.push_str(word);
        if run.len() > secrets.longest + 1 {
            return false;
        }
        let is_name = secrets.names.contains(&run)
            || run
                .strip_suffix('s')
                .is_some_and(|it| secrets.names.contains(it))
            || (index > 0 && WHOLE_WORDS.contains(&run.as_str()) && word.len() == 1);
        if index > 0 && is_name && !(index == 1 && words[..2] == HARMLESS_PAIR) {
            return true;
        }
    }
    false
}

/// The normalized words of a text. A capital after a lower-case letter begins a word, and so does the last of
/// several capitals before a lower-case letter.
fn words_of(text: &str, with_stand_ins: bool) -> Vec<String> {
    let mut words: Vec<String> = vec![String::new()];
    let mut folded = String::new();
    let mut before = LetterCase::None;
    let mut letters = text.nfkd().peekable();
    while let Some(c) = letters.next() {
        folded.clear();
        fold(c, with_stand_ins, &mut folded);
        if folded.is_empty() {
            continue;
        }
        if !folded.chars().any(char::is_alphanumeric) {
            words.push(String::new());
            before = LetterCase::None;
            continue;
        }
        let case = LetterCase::of(c);
        let next_is_small = letters.peek().is_some_and(|next| next.is_lowercase());
        let begins = match before {
            LetterCase::Small => case == LetterCase::Capital,
            LetterCase::Capital => case == LetterCase::Capital && next_is_small,
            LetterCase::None => false,
        };
        if begins {
            words.push(String::new());
        }
        before = case;
        if let Some(word) = words.last_mut() {
            word.push_str(&folded);
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum LetterCase {
    Small,
    Capital,
    None,
}

impl LetterCase {
    fn of(c: char) -> Self {
        match c {
            c if c.is_lowercase() => Self::Small,
            c if c.is_uppercase() => Self::Capital,
            _ => Self::None,
        }
    }
}

/// Appends the lower-case skeleton of a letter; nothing for an invisible character.
fn fold(c: char, with_stand_ins: bool, folded: &mut String) {
    if c.is_ascii() {
        let c = if with_stand_ins { stand_in(c) } else { c };
        folded.push(c.to_ascii_lowercase());
        return;
    }
    if is_combining_mark(c) {
        return;
    }
    for small in c.to_lowercase() {
        // The sigma at the end of a word has no capital of its own.
        let small = if small == 'ς' { 'σ' } else { small };
        let mut one = [0; 4];
        let alike = skeleton(small.encode_utf8(&mut one));
        for c in alike.filter(|c| !is_combining_mark(*c)) {
            folded.extend(of_small_capital(c).to_lowercase());
        }
    }
}

fn of_small_capital(c: char) -> char {
    let mut table = SMALL_CAPITALS.chars();
    while let (Some(capital), Some(letter)) = (table.next(), table.next()) {
        if capital == c {
            return letter;
        }
    }
    c
}

/// The letter that a digit or sign stands for, as in `p@ssw0rd`.
fn stand_in(c: char) -> char {
    match c {
        '0' => 'o',
        '1' | '!' | '|' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        c => c,
    }
}

fn blurred(word: &str) -> String {
    word.chars()
        .map(|c| if c == 'l' { 'i' } else { stand_in(c) })
        .collect()
}

#[cfg(test)]
#[path = "secrets_tests.rs"]
mod tests;
