use serde_json::json;

use crate::analysis::propose::tests::{listed, propose_alone};
use crate::bundle::parse::registration::{AccessLevel, Sensitivity};

#[test]
fn names_of_secrets_bring_secrets() {
    for name in [
        "get_apikey",
        "get_smtp_config",
        "get_saml_response",
        "get_unseal_keys",
        "show_puk",
        "get_lock_combination",
        "get_accesskey",
        "list_pats",
        "show_pin",
        "get_recovery_codes",
        "get_bearer",
        "get_auth_header",
        "get_pgpass",
        "get_master_key",
        "get_seed_phrase",
        "get_2fa_codes",
        "get_jwt",
        "get_htpasswd",
        "get_shadow_file",
        "get_id_rsa",
        "read_netrc",
        "get_session_id",
        "show_my_pin",
        // Their siblings.
        "getApiKey",
        "list_apikeys",
        "get_secretkey",
        "get_authtoken",
        "get_accesstoken",
        "get_pat",
        "get_passcode",
        "list_backup_codes",
        "get_mfa_code",
        "get_one_time_code",
        "get_2FA_codes",
        "get_authorization_header",
        "get_auth_cookie",
        "get_root_key",
        "get_signing_key",
        "get_pgp_key",
        "get_ed25519",
        "get_keytab",
        "get_npmrc",
        "get_pypirc",
        "get_docker_config",
        "get_environ",
        "get_tfstate",
        "get_terraform_state",
        "get_database_url",
        "get_sas_url",
        "get_presigned_url",
        "get_magic_link",
        "get_reset_link",
        "get_cvv",
        "get_card_number",
        "get_security_questions",
        "get_keystore",
        "get_key_pair",
        "get_client_key",
        "get_session_cookie",
        "get_psk",
        "get_p12",
        "get_recovery_phrase",
        "get_unlock_code",
        "get_door_code",
        "get_ntlm_hash",
        "get_etc_shadow",
        "get_authorized_keys",
        "get_creds",
        "get_idtoken",
        "get_passkeys",
    ] {
        let entry = propose_alone(&listed(json!({
            "name": name,
            "annotations": {"readOnlyHint": true, "openWorldHint": false},
        })));
        let yields = &entry.yields;
        assert!(yields.contains(&"secret".to_owned()), "{name}: {yields:?}");
        assert_eq!(entry.sensitivity, Sensitivity::Restricted, "{name}");
    }
}

#[test]
fn names_that_share_a_word_with_secrets_bring_none() {
    for name in [
        "list_keys",
        "get_session",
        "get_header",
        "get_country_code",
        "get_code",
        "get_phrase",
        "list_pinned",
        "get_link",
        "get_url",
        "get_keyboard",
        "get_monkey",
        "list_paths",
        "get_pattern",
        "get_file",
        "get_user_id",
        "get_hash",
    ] {
        let entry = propose_alone(&listed(json!({"name": name})));
        let yields = &entry.yields;
        assert!(!yields.contains(&"secret".to_owned()), "{name}: {yields:?}");
    }
    let pin = propose_alone(&listed(json!({"name": "slack_pin_message"})));
    assert_ne!(pin.sensitivity, Sensitivity::Restricted, "a verb");
}

#[test]
fn to_make_a_key_that_opens_something_is_administration() {
    for name in [
        "create_api_key",
        "create_apikey",
        "addSshKeys",
        "set_masterkey",
        "update_accesskeys",
    ] {
        let entry = propose_alone(&listed(json!({"name": name})));
        assert_eq!(entry.access, AccessLevel::Admin, "{name}");
    }
}
