use serde_json::{Value as Json, json};

use crate::analysis::propose::tests::{listed, propose_alone};
use crate::bundle::parse::registration::{AccessLevel, ToolEntry};

fn nullable() -> Json {
    json!({"type": ["string", "null"]})
}

/// A tool that calls itself harmless and takes one argument.
fn with_argument(name: &str, argument: &str, schema: Json) -> ToolEntry {
    propose_alone(&listed(json!({
        "name": name,
        "annotations": {"readOnlyHint": true, "openWorldHint": false},
        "inputSchema": {"type": "object", "properties": {argument: schema}},
    })))
}

/// Kind and role of the only target of a tool that takes this argument.
fn target(argument: &str) -> Option<(Option<String>, Option<String>)> {
    let entry = with_argument("read_doc", argument, nullable());
    let [target] = entry.target_arguments.as_slice() else {
        return None;
    };
    assert_eq!(target.argument, argument);
    Some((target.kind.clone(), target.role.clone()))
}

#[test]
fn the_last_word_of_an_argument_tells_a_path() {
    for argument in [
        "src_path",
        "docPath",
        "input_file",
        "source_file",
        "pathname",
        "localPath",
        "notebook_path",
        "project_root",
        "old_path",
        "new_path",
        "image_path",
        "sourcePath",
        "workspaceFolder",
        "left_path",
        "right_path",
        // Their siblings.
        "dirPath",
        "rootDir",
        "base_dir",
        "logFile",
        "docpath",
        "srcfile",
        "configFile",
        "directory_name",
        "files_to_read",
        "path1",
        "path_2",
        "path_list",
        "audioFile",
        "pdf_path",
        "repoPath",
        "input_files",
        "template_file",
        "folder_names",
        "FILE_PATH",
        "file-path",
        "working_dir",
        "subfolder",
        "abspath",
    ] {
        let found = target(argument);
        let kind = found.and_then(|(kind, _)| kind);
        assert_eq!(kind.as_deref(), Some("path"), "{argument}");
    }
}

#[test]
fn recipients_addresses_and_uris_are_targets() {
    for (argument, kind, role) in [
        ("file_uri", None, None),
        ("documentUri", None, None),
        ("to", None, Some("recipient")),
        ("from_address", None, None),
        ("manager_email", Some("email"), None),
        ("toRecipients", None, Some("recipient")),
        // Their siblings.
        ("userEmail", Some("email"), None),
        ("emailAddress", Some("email"), None),
        ("email_addresses", Some("email"), None),
        ("senderEmails", Some("email"), None),
        ("contact_email", Some("email"), None),
        ("bccEmails", Some("email"), Some("recipient")),
        ("ccRecipients", None, Some("recipient")),
        ("reply_to", None, Some("recipient")),
        ("email_to", None, Some("recipient")),
        ("to_address", None, Some("recipient")),
        ("phone_number", None, Some("recipient")),
        ("root_uri", None, None),
        ("image_uri", None, None),
        ("path_or_url", None, None),
        ("json_path", None, None),
        ("attachments", None, None),
        ("excludePaths", None, None),
        ("guests", None, Some("recipient")),
        ("old_file", Some("path"), Some("source")),
        ("new_file", Some("path"), Some("destination")),
    ] {
        let wanted = (kind.map(str::to_owned), role.map(str::to_owned));
        assert_eq!(target(argument), Some(wanted), "{argument}");
    }
}

#[test]
fn addresses_of_machines_and_pages_are_targets_and_lead_out() {
    for argument in [
        "callback_url",
        "feed_url",
        "pageUrl",
        "base_url",
        "api_url",
        "image_url",
        "link",
        "href",
        "site",
        "origin",
        "address",
        "proxy",
        "remote",
        "ip",
        "callback",
        "registry",
        "fqdn",
        // Their siblings.
        "links",
        "baseurl",
        "webhookUrl",
        "siteUrls",
        "target_host",
        "dbhost",
        "host_name",
        "ip_address",
        "ipv6",
        "serverAddress",
        "proxy_server",
        "mirror",
        "upstream",
        "nameserver",
        "subdomain",
        "rss_feed",
        "homepage",
        "domain_name",
        "remoteHost",
        "redirect_uri",
        "endpoint",
        "gateway",
        "url2",
        "url_to_fetch",
        "imageLink",
        "recipient_id",
        "url_path",
        "webhook_id",
        "connection_string",
        "websiteUrl",
    ] {
        assert!(target(argument).is_some(), "{argument}");
        let entry = with_argument("read_doc", argument, nullable());
        assert!(entry.egress, "{argument}");
        let list = json!({"type": ["array", "null"], "items": {"type": "string"}});
        let entry = with_argument("read_doc", argument, list);
        assert!(entry.egress, "a list of {argument}");
        assert_eq!(entry.target_arguments.len(), 1, "a list of {argument}");
    }
}

#[test]
fn what_only_looks_like_a_place_is_no_target() {
    for argument in [
        "profile",
        "profiles",
        "xpath",
        "curl",
        "ghost",
        "id",
        "limit",
        "cursor",
        "page",
        "language",
        "country",
        "format",
        "note",
        "file_type",
        "fileId",
        "path_count",
        "site_id",
        "link_type",
        "user_name",
        "title",
        "code_language",
    ] {
        let entry = with_argument("read_doc", argument, nullable());
        assert_eq!(entry.target_arguments, [], "{argument}");
        assert!(!entry.egress, "{argument}");
    }
    for schema in [
        json!({"type": "boolean"}),
        json!({"type": "integer"}),
        json!({"enum": ["internal", "external"]}),
    ] {
        let entry = with_argument("read_doc", "links", schema.clone());
        assert_eq!(entry.target_arguments, [], "{schema}");
        assert!(!entry.egress, "{schema}");
    }
    let date = json!({"type": "string", "format": "date-time"});
    let entry = with_argument("list_events", "to", date);
    assert_eq!(entry.target_arguments, [], "a time is no recipient");
}

#[test]
fn what_is_looked_up_is_carried_out() {
    for (name, argument) in [
        ("lookup_dns", "name"),
        ("dns_lookup", "record"),
        ("resolve_host", "name"),
        ("whois", "name"),
        ("nslookup", "zone"),
        ("lookup", "phrase"),
        ("geocode", "place"),
        ("get_geoip", "value"),
        ("lookup_breach", "login"),
        ("check_availability", "handle"),
        ("validate_vat", "number"),
        ("identify_plant", "photo"),
        ("get_subdomains", "zone"),
        ("get_capital", "name"),
        ("get_quote", "ticker"),
        ("lookup_asn", "prefix"),
        ("look_up", "term"),
        ("verify_vat", "id"),
        ("fetch_rss", "name"),
        ("get_npm", "name"),
    ] {
        let entry = with_argument(name, argument, nullable());
        assert!(entry.egress, "{name}({argument})");
    }
    for (name, argument) in [
        ("lookup_user", "name"),
        ("get_project", "name"),
        ("check_branch", "name"),
        ("get_entry", "id"),
    ] {
        let entry = with_argument(name, argument, nullable());
        assert!(!entry.egress, "{name}({argument})");
    }
}

#[test]
fn an_argument_that_says_where_to_write_makes_a_reader_write() {
    for argument in [
        "to_dir",
        "out",
        // Their siblings.
        "output",
        "dest",
        "dst",
        "destination",
        "outFile",
        "output_file",
        "outputPath",
        "dest_path",
        "destDir",
        "to_file",
        "into_folder",
        "save_as",
        "saveTo",
        "download_dir",
        "download_to",
        "export_path",
        "outputUri",
        "dest_bucket",
        "out_dir",
        "write_to",
        "dump_file",
        "outdir",
        "destpath",
        "copy_to",
        "file_out",
    ] {
        let entry = with_argument("get_doc", argument, nullable());
        let why = &entry.why["access"];
        assert_eq!(entry.access, AccessLevel::Write, "{argument}: {why}");
    }
    for argument in [
        "to",
        "path_to_file",
        "output_format",
        "check_out",
        "download_url",
    ] {
        let entry = with_argument("get_doc", argument, nullable());
        let why = &entry.why["access"];
        assert_eq!(entry.access, AccessLevel::Read, "{argument}: {why}");
    }
    let choices = json!({"enum": ["json", "text"]});
    let entry = with_argument("get_doc", "output", choices);
    assert_eq!(entry.access, AccessLevel::Read);
    let entry = with_argument("get_doc", "max_output", json!({"type": "integer"}));
    assert_eq!(entry.access, AccessLevel::Read);
}
