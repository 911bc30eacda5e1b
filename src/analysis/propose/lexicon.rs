//! The word lists of proposals.
//!
//! An unlisted word counts as suspicious. So a missing word costs a reviewer a glance, while a wrong one can cost more:
//! `open`, `resolve`, `take` and `load` do not count as reading.

/// A list of words, separated by spaces.
#[derive(Debug, Clone, Copy)]
pub(super) struct WordList(&'static str);

impl WordList {
    /// A list of words, separated by spaces.
    pub(super) const fn new(words: &'static str) -> Self {
        Self(words)
    }

    /// The words of the list.
    pub(super) fn words(self) -> impl Iterator<Item = &'static str> {
        self.0.split_ascii_whitespace()
    }

    /// Whether the list contains the word.
    pub(super) fn has(self, word: &str) -> bool {
        self.words().any(|own| own == word)
    }

    /// The first of these words that the list contains.
    pub(super) fn first(self, words: &[String]) -> Option<&str> {
        words.iter().map(String::as_str).find(|word| self.has(word))
    }
}

/// Verbs that only read, and nouns that stand for one (`git_status`).
pub(super) const READ: WordList = WordList(
    "analyse analyze browse calculate can cat check compare compute count crawl describe detect details diff discover du \
     enumerate estimate exists explain fetch find get glob grep has help history identify info inspect is list logs look \
     lookup ls metadata peek ping preview pwd read recommend retrieve scrape screenshot search show stat statistics stats \
     status suggest summarize tail tree validate verify view wait who whoami",
);

/// Verbs that change something, or may.
pub(super) const WRITE: WordList = WordList(
    "cp decrease defragment dislike mkdir mv disarm increase instate rollforward accept acknowledge acquire activate add adjust advance align allocate alter amend annotate answer append apply \
     archive arrange ask assign attach auto backfill backup bind book bookmark branch broadcast buffer build \
     bulkupdate bump cache call capture categorize change charge chat checkin checkout claim clean click clone close \
     collapse comment commit compact compile complete compose compress configure confirm connect consume convert copy \
     correct create crop customize cut debug decline decode decompress decrement defer define demote dequeue derive \
     detach dial disconnect dismiss dispatch dispute distribute donate double download draft drag draw duplicate edit \
     email embed emit encode encrypt end enqueue enrich enroll enter escalate exchange exit expand export extend \
     extract favorite feed fill filter finalize finish fix flag flip flush focus follow fork format forward freeze \
     fulfill generate give handle hide highlight hold hover ignore import improve increment index infer ingest init \
     initialize inject insert interact isolate issue join jump keep label launch leave like link listen load lock log \
     login logout lower make manage map mark maximize measure merge message minimize mirror mix modify mount move \
     mute name navigate new notify offer open optimize order organize overwrite own pack package page park parse \
     partition pass paste patch pause persist pick pin place plan play poll pop populate port post prepare prepend \
     press print prioritize process produce profile promote prompt propose provision pull push put query queue quote \
     raise randomize rate react reactivate rearrange reassign rebase rebuild recalculate receive recompute reconcile \
     reconfigure reconnect record recover redirect redo reduce refactor refresh regenerate register reindex reject \
     relate reload relocate remap remember remind rename render renew reopen reorder repair repeat replace replay \
     replicate reply report repost request requeue reschedule reserve reset resize resolve respond restart restore \
     restrict resubmit resume retag retire retry return retweet reupload reverse revert review rewrite ring rollout \
     rotate round route sample save scale scan schedule score scroll seed select send serve set setup shift ship \
     shorten shuffle sign signup simulate skip sleep slice snapshot snooze solve sort split stage star start stash \
     step stop store stream submit subscribe summon suspend swap switch sync synchronize tag take test tick toggle \
     touch trace track trade train transcode transcribe transform transition translate transpose trigger trim tune \
     turn tweet type unarchive unassign uncheck unfavorite unflag unfollow unhide unlike unlock unmark unmute unpack \
     unpause unpin unregister unsnooze unstage unstar unsubscribe untag unvote unwatch update upgrade upload upsert \
     use vote wake warm watch withdraw work wrap write zip zoom",
);

/// Verbs and nouns of what cannot be undone, changes who may do what, costs money, or runs anything.
pub(super) const ADMIN: WordList = WordList(
    "annul banish brick chmod chown degauss del pwsh sh zsh eject expel greylist jailbreak lockdown lockout nullify oust rescind sanitize scrub allowlist blacklist blocklist defrag denylist offboard onboard poweroff poweron powercycle rekey reimage reinstate rid safelist whitelist wipeout abort admin allow approve authorise authorize ban bash bill bleed block burn buy cancel cleanup clear command \
     cordon credential credentials deactivate decommission delegate delegation delete demolish deny deploy deprecate \
     deprovision deregister destroy disable discard dispose downgrade drain drop dump elevate empty enable erase eval \
     evaluate evict exec execute expire expose expunge failover fire force forget format grant halt hire impersonate \
     install invalidate invite invoke kick kill liquidate merge migrate mint nuke obliterate override password \
     passwords pay payout permit powershell prune publish purchase purge quarantine reboot recall refund release \
     remove reprovision reseed revoke rm rmdir rollback rotate run scrap script secret secrets sell share shell shred \
     shutdown signoff spawn spend sql stake sudo sunset takedown tear teardown terminal terminate token tokens \
     transfer trash trim truncate unban unblock uncordon undelete uninstall unlink unprovision unpublish unseal \
     unshare void wipe wire withdraw zap",
);

/// Words that are nouns after a reading verb and verbs otherwise.
pub(super) const EITHER: WordList = WordList(
    "alert annotate answer archive backup block bookmark branch build cache call capture change charge chat command \
     comment commit connect draft email embed end exchange export feed filter flag focus follow force fork format \
     import index issue join label leave like link load lock log map measure message mirror mount name new \
     offer open order package page park partition pass patch pin place plan play poll port post press print process \
     produce profile prompt purchase query queue quote rate record release reply report request reserve return review \
     ring route run sample scale scan schedule score script seed set share shift ship sign snapshot sort source split stage \
     star start step stash store stream swap switch sync tag test tick trace track trade transfer transition \
     translate trigger type use vote wait watch work wire bill stake terminal",
);

/// Words that join two verbs.
pub(super) const JOINTS: WordList = WordList("also and but n or plus then");

/// Words about quantity.
pub(super) const MODIFIERS: WordList = WordList("all batch bulk multi multiple my");

/// Nouns and adjectives, never verbs, that may precede a reading verb (`directory_tree`, `semantic_search`).
pub(super) const NOUNS: WordList = WordList(
    "account accounts advanced article articles basic browser calendar calendars channel channels client clients \
     cluster collection collections column columns complex container containers content contents csv customer \
     customers database databases dataset datasets deep directories directory doc docs document documents entity \
     event events exact file files folder folders forecast full fulltext fuzzy graph hybrid image images inbox \
     incident incidents internet issues item items jobs json keyword local location messages news node nodes paper \
     papers pdf people person pods pull quick recursive regex repo repos repositories repository schema semantic \
     server similar similarity simple site sitemap smart sprint stock system table tables task tasks team teams \
     thread threads ticket tickets user users vector video videos weather web website wiki wikipedia workflow \
     workspace xml",
);

/// Verbs whose result carries no data.
pub(super) const SILENT: WordList = WordList(
    "add append archive assign block cancel cleanup close comment commit copy create delete destroy disable enable favorite \
     fork insert invite kill label like link lock log mark move mute notify pin post publish push put react remove \
     rename reply reset resize save send set share star start stop store submit subscribe terminate toggle unassign \
     unfollow unlink unlock unpin unstar unsubscribe upload write",
);

/// Words about the tool itself or pure computation, which no third party influences.
pub(super) const ITSELF: WordList = WordList(
    "alive capabilities clock current date echo health heartbeat now number numbers ping random sum \
     time timestamp timezone timezones utc uuid version",
);

/// Words about public sources.
pub(super) const PUBLIC: WordList = WordList(
    "arxiv bing duckduckgo forecast internet news public pubmed weather web website wikipedia",
);

/// Words about external services, to which the query is sent.
pub(super) const ELSEWHERE: WordList = WordList(
    "asn breach breaches dig dns domain domains fqdn geocode geoip geolocate geolocation hackernews hibp linkedin npm nslookup pypi rdap reddit rss subdomain subdomains traceroute twitter webpage webpages whois arxiv bing crawl crypto currency duckduckgo exchange forecast google http image images internet maps navigate news paper papers \
     pubmed public scrape stock translate url video videos weather web website wikipedia youtube",
);

/// Words about internal data, which is not public and whose queries stay inside.
pub(super) const INSIDE: WordList = WordList(
    "account accounts agile alert alerts attachment attachments attendees audit backlog balance bank billing board boards \
     bookings branch branches bucket buckets build builds calendar calendars call calls candidate candidates card cards \
     channel channels chat chats checks claims client clients cluster code column columns comment comments commit commits \
     company contact contacts contents contract contracts conversation conversations customer customers dashboard \
     dashboards data database databases dataset datasets db deal deals deployment deployments device devices directories \
     directory doc document documents drive email emails employee employees entity entities epic epics event events \
     expense expenses field fields file files folder folders form forms graph group groups inbox incident incidents \
     insights internal inventory invoice invoices issue issues item items job jobs key keys lead leads ledger log logs mail \
     mailbox meeting meetings member members memory merge message messages metric metrics namespace namespaces node \
     nodes note notes object objects opportunity order orders org organization organizations page pages patient patients payment \
     payments payroll people person photos pipeline pipelines pod pods private product products profile profiles project projects \
     prompt prompts pull record records repo repos repositories repository request requests review reviews row rows sales \
     schema secret secrets sheet sheets space spaces spreadsheet sprint sprints subscription table tables task tasks team \
     teams template templates thread threads ticket tickets transaction transactions transcript transcripts user users \
     vault vaults version versions volume volumes wiki workflow workflows workspace workspaces worklog",
);

/// Words about sending or contacting somebody.
pub(super) const SENDING: WordList = WordList(
    "broadcast browse click comment crawl dispatch download email export fetch forward http invite mail message navigate \
     notify ping post publish push reply request respond scrape send share sms submit tweet upload webhook",
);

/// Words about secrets and their stores.
pub(super) const SECRET: WordList = WordList(
    "cert certs kerberos lsass nsec ntds otpauth puk xpriv xprv 2fa accesskey apikey bearer cred creds cvc cvv dockercfg dockerconfigjson ecdsa ed25519 environ envrc gpg hotp htpasswd htdigest jks jwk jwks jwt jwts kdbx keyfile keyfiles keytab keytabs krb5 luks netrc npmrc oauth ovpn p12 pats pat csrf logins passcode passcodes passkeys passphrases pwds xsrf passwd pems pfx pgp pgpass pkcs12 privkey psk pypirc rsa sas seedphrase shadowfile sid sshkey tfstate tfvars wpa 1password bitwarden certificate certificates cookie cookies credential credentials dotenv doppler env \
     infisical kubeconfig keepass keychain keyring keystore lastpass mnemonic otp passkey passphrase password passwords pem secret \
     secretmanager secrets secretsmanager ssh token tokens totp vault vaults wallet",
);

/// Words that make `key` a secret.
pub(super) const OPENING: WordList = WordList(
    "aws azure backup bot gcp github gitlab google openai provider recovery slack stripe unseal vpn wpa2 account admin aes application client consumer customer decryption ec gpg hmac host jwt master pgp product rsa root sas session storage subscription tls wep webhook wifi wireguard wpa access api deploy encryption kms license private secret service signing ssh",
);

/// Words about confidential data.
pub(super) const CONFIDENTIAL: WordList = WordList(
    "account accounts bank billing calendar contact contacts customer customers database db email emails employee employees inbox \
     invoice mail mailbox messages patient patients payment payments payroll profile query salary sql users",
);

/// Words about permissions and global settings: changing these is `admin`.
pub(super) const POWERS: WordList = WordList(
    "access acl acls admin admins billing collaborator collaborators config configuration dns domain firewall forwarder forwarders \
     forwarding guardrail iam \
     member members membership mfa owner owners ownership payment permission permissions policies policy privilege \
     privileges protection quota restriction restrictions role roles rule rules setting settings sso visibility webhook \
     webhooks",
);

/// Words about infrastructure, where any change can change everything.
pub(super) const INFRASTRUCTURE: WordList =
    WordList("ansible aws az docker gcloud helm k8s kubectl kubernetes terraform vault");

/// Arguments with a program or a query, so that the call is unbounded.
pub(super) const PROGRAMS: WordList = WordList(
    "aggregation bash bash_command cli_args cmd cmds code code_snippet command command_line commands cypher cypher_query \
     argv args eval exec expr expression gql graphql graphql_query gremlin hcl javascript js js_code kql lambda lua manifest manifests mutation \
     pipeline playbook powershell program python python_code raw_query raw_sql run_command script scripts shell \
     shell_command soql snippet source_code sparql sql sql_query sql_statement statement statements yaml",
);

/// Arguments that select the operation.
pub(super) const CHOOSERS: WordList = WordList(
    "action actions api_method cmd command function http_method method methods op operation operation_id operations ops steps \
     sub_command subcommand verb",
);

/// Arguments that select the operation if its arguments are passed on as well.
pub(super) const CALLED: WordList = WordList(
    "actor endpoint function_name operation_name service skill tool tool_id tool_name tool_slug",
);

/// Arguments with the arguments of another operation.
pub(super) const PASSED_ON: WordList = WordList(
    "actions args arguments body commands data input inputs json kwargs operations options parameters params payload request \
     steps variables",
);

/// Arguments that select the operation where all that they can be is verbs.
pub(super) const VAGUE_CHOOSERS: WordList =
    WordList("call do intent kind mode request step task type what which");

/// The methods of HTTP.
pub(super) const HTTP_METHODS: WordList =
    WordList("get head options post put patch delete trace connect");

/// Last words of arguments that only say that it is a text.
pub(super) const FORMS_OF_TEXT: WordList =
    WordList("body content line lines raw source str string text value");

/// Arguments with free text to search for or ask.
pub(super) const FREE_TEXT: WordList = WordList(
    " content input instruction instructions intent keyword keywords message phrase prompt q query question search \
     search_query search_term symbol term terms text topic",
);

/// Arguments with a text for whoever answers: a model or a person, at whichever place.
pub(super) const ASKING: WordList =
    WordList("ask instruction instructions intent message messages prompt question questions");

/// Arguments with a destination.
pub(super) const WHERE_TO: WordList = WordList(
    "domain domains endpoint host hostname recipient recipients url urls webhook website websites",
);

/// Switches that give a reading call a side effect.
pub(super) const SWITCHES: WordList = WordList(
    "apply archive clear commit create delete download execute fix force mark move notify overwrite persist purge remove \
     reset save send store submit update write",
);

/// Last words of arguments that are another operation's, whatever is before them.
pub(super) const ARGUMENTS: WordList = WordList("args arguments kwargs payload");

/// Arguments beside a document of GraphQL.
pub(super) const OF_DOCUMENTS: WordList = WordList("variables operation_name");

/// First words of arguments that narrow a search or a walk.
pub(super) const FILTERS: WordList = WordList("exclude ignore include select skip");

/// Services with repositories of others, where paths are not of this machine.
pub(super) const FORGES: WordList =
    WordList("bitbucket codeberg forgejo gitea github gitlab sourcehut");

/// Arguments that say whose a remote repository is.
pub(super) const OWNERS: WordList =
    WordList("group namespace org organization owner project project_key user username workspace");

/// Words about what connects two things.
pub(super) const RELATIONS: WordList =
    WordList("edge edges relation relations relationship relationships triple triples");

/// Last words of arguments that alone mean an output.
pub(super) const END_OF_OUTPUT: WordList =
    WordList("out output outputs dest dst destination destinations");

/// Words of arguments with an output path, before its last.
pub(super) const OUTPUTS: WordList =
    WordList("dest destination download dst dump export out output save saved write");

/// Arguments with content to be stored.
pub(super) const PUT: WordList =
    WordList("body comment content data description emoji message note reaction text title value");

/// Words about what is displayed to a person.
pub(super) const SHOWN: WordList = WordList("alert dialog message notification popup toast window");

/// Objects of `ping` that are machines, not people.
pub(super) const PINGED: WordList =
    WordList("address database db endpoint host ip server service url");

/// Arguments that name a secret to read.
pub(super) const SECRET_NAMES: WordList = WordList("credential credentials secret secrets vault");

/// Words about running programs.
pub(super) const RUNNING: WordList = WordList(
    "bash code command commands console exec execute powershell process processes python run script shell spawn terminal",
);

/// Arguments with a program, rather than a database query.
pub(super) const RUNS: WordList = WordList(
    "argv args bash bash_command cli_args cmd cmds code code_snippet command command_line commands exec javascript js js_code \
     lambda lua powershell program python python_code run_command script scripts shell shell_command snippet source_code",
);

/// Verbs that add something or operate a user interface, for which `destructiveHint` is ignored.
pub(super) const GENTLE: WordList = WordList(
    "add append attach click close comment copy create drag fill fork handle hover link navigate open post press reply resize \
     scroll select send type upload zoom",
);

/// Prefixes that make a verb from another verb, or reverse it.
pub(super) const BEFORE_VERBS: WordList = WordList("un re de dis on off");

/// Prefixes of verbs that change something.
pub(super) const BEFORE_CHANGES: WordList =
    WordList("auto batch bulk force hard mass mis over pre soft");

/// Words behind verbs: `poweroff`, `logout`.
pub(super) const PARTICLES: WordList = WordList("off on out up down in");

/// Verbs with a particle: `power off`, `opt in`. Alone they may be nouns.
pub(super) const PHRASAL: WordList =
    WordList("kick lock opt plug power roll scale shut spin switch tear throw turn wipe");

/// Words that are verbs with a prefix only: `unfriend`, `rekey`.
pub(super) const STEMS: WordList = WordList(
    "act activate age assemble associate author board brand bug certify channel code commission compose couple crypt do duplicate \
     duplication dupe enroll enter establish flash frag fragment friend fund gas gauge group hash home host hydrate \
     image incarnate instate instantiate key license mask mix model nest nominate opt org own parent parole \
     partition people platform plug populate power prioritise prioritize provision role roll seat shape shut slot spin \
     stock stitch style subscribe tear team tenant throw tie tire title tune turn number user value wipe zone",
);

/// Words that look as if they were made from verbs and are none, or are as often nouns or adjectives.
pub(super) const HARMLESS: WordList = WordList(
    "addon addons shin shout autocomplete buildup callback closeout countdown cutoff detail discount discounts disorder disorders \
     display feedback followup handout input inputs kickoff login logins logon markdown markup offset oncall onset output \
     outputs overlap overlay overlays overview playback preset presets printout rebate register registers remark remarks \
     research resort resorts resource resources result retail signin standup startup startups timeout timeouts unread \
     design designs plugin plugins pushdown callout callouts dropout dropouts workout workouts popup popups makeup pickup \
     pickups dropoff tradeoff tradeoffs playoff playoffs rundown dropdown dropdowns drawdown overdraft prefix prefixes \
     mistake mistakes onpage offpage indeterminate unclear prerelease prereleases pretest",
);

/// Words for files and folders.
pub(super) const FILE_WORDS: WordList = WordList(
    "path paths pathname pathnames filepath filepaths filename filenames file files dir dirs directory directories folder \
     folders subfolder subfolders root roots cwd workdir fname fpath abspath relpath",
);

/// Words before `path` that make it a place within a document.
pub(super) const POINTERS: WordList =
    WordList("json xml yaml key field property dot menu node tree css element attribute schema");

/// Words for URLs.
pub(super) const URL_WORDS: WordList = WordList("url urls href hrefs permalink permalinks");

/// Words for mail addresses.
pub(super) const EMAIL_WORDS: WordList = WordList("email emails emailaddress emailaddresses");

/// Words for machines and services that a call reaches.
pub(super) const HOST_WORDS: WordList = WordList(
    "broker callback callbacks domain domains endpoint endpoints feed feeds fqdn fqdns gateway host hostname hostnames hosts \
     mirror mirrors nameserver nameservers origin origins peer peers proxies proxy registries registry relay remote remotes \
     resolver rss server servers site sites socket subdomain subdomains upstream webhook webhooks webpage webpages website \
     websites websocket",
);

/// Words for addresses that are never the end of a longer word.
pub(super) const LINK_WORDS: WordList = WordList(
    "backlink cdn connection deeplink dns dsn ntp shortlink smtp tunnel address addresses cidr homepage ip ips ipv4 ipv6 ipaddress link links sitemap subnet tld weblink hyperlink",
);

/// Words for those who take part in mail.
pub(super) const MAIL_PARTIES: WordList =
    WordList("email mail sender reply recipient cc bcc contact e smtp");

/// Words for those to whom something is sent.
pub(super) const RECIPIENT_WORDS: WordList = WordList(
    "attendee guest guests mailto participant addressee addressees bcc cc invitee invitees recipient recipients phone phones phonenumber phonenumbers mobile msisdn fax",
);

/// Verbs, first in a name, with which a call says something to somebody.
pub(super) const SPEAKING: WordList = WordList(
    "announce broadcast dm email forward mail message mention notify ping post reply send share sms tell text tweet whisper",
);

/// Verbs that do so only with what is said: `create_message`.
pub(super) const WRITING: WordList = WordList("add compose create make new put write");

/// What is said to somebody.
pub(super) const MESSAGES: WordList =
    WordList("dm dms email emails mail mails message messages notification notifications sms");

/// Words of the arguments of those with people and rooms to whom it goes, alone or before `id` or `name`.
pub(super) const ADDRESSED: WordList = WordList(
    "attendee attendees channel channels chat chats contact contacts conversation conversations group groups handle member members people \
     person receiver receivers recipient recipients room rooms space spaces subscriber subscribers to user username users",
);

/// Words for what is written to, besides files.
pub(super) const TO_WRITE: WordList = WordList("uri url bucket table sheet location key");

/// Verbs before `to` or `as` that store a result.
pub(super) const STORING: WordList = WordList(
    "save saved write written store stored download downloaded dump dumped export exported extract log output put record send copy unpack",
);

/// Verbs before `to` or `with` that tell somebody something.
pub(super) const TELLING: WordList =
    WordList("announce deliver forward mail notify post report send share ship show tell");

/// Verbs before `to` that put something elsewhere.
pub(super) const UPLOADING: WordList =
    WordList("export mirror publish push put replicate submit sync transmit upload");

/// Words before `code` that make it a secret.
pub(super) const CODES: WordList = WordList(
    "2fa access activation alarm auth authentication authenticator authorization backup bypass confirmation door emergency \
     entry fa gate gift login mfa onetime otp pairing pass passkey recovery redemption reset scratch security sms time totp \
     unlock verification voucher",
);

/// Ends of words that are secrets: `authtoken`.
pub(super) const ENDINGS_OF_SECRETS: WordList =
    WordList("token secret password passwd passphrase passcode credential cookie apikey");

/// Pairs of words that are secrets, the second in the singular.
pub(super) const SECRET_PAIRS: WordList = WordList(
    "admin_pass authenticator_seed database_config db_config door_combination email_pass ldap_config lock_combination mail_config redis_config root_pass safe_combination saml_assertion saml_response secure_note session_ticket smtp_config smtp_pass sso_ticket user_pass wifi_pass 2_fa auth_config auth_cookie auth_data auth_detail auth_file auth_header auth_info auth_json auth_session auth_state \
     authorization_header authorized_key aws_config aws_profile backup_phrase card_number connection_string database_url db_pass \
     db_url docker_config environment_var environment_variable etc_shadow hash_dump http_header http_request kerberos_ticket \
     key_bundle key_chain key_file key_material key_pair key_ring key_store key_vault kube_config local_storage login_data \
     login_detail login_info login_link magic_link master_pass network_header network_request nt_hash ntlm_hash one_password \
     openvpn_config pass_code pass_phrase pass_word pre_signed presigned_url private_cert recovery_kit recovery_phrase \
     recovery_word request_header reset_link sas_url security_answer security_question seed_phrase seed_word session_data \
     session_id session_storage shadow_entry shadow_file shadow_hash signed_url signing_cert storage_session storage_state \
     terraform_state tls_cert vpn_config vpn_profile wifi_config wireguard_config",
);

/// Things at which a change lets somebody in, or moves a machine.
pub(super) const PHYSICAL: WordList = WordList(
    "alarm alarms barrier boiler breaker car cars door doors drone elevator furnace garage gate gates heater ignition oven \
     padlock pump robot safe siren thermostat valve valves vehicle vehicles",
);

/// Verbs that decide who gets into an account.
pub(super) const ADMITTING: WordList = WordList(
    "activate close confirm freeze hide impersonate lock login merge mute provision reactivate recover reopen reset restore \
     resume signin suspend switch takeover transfer unfreeze unlock unsuspend verify",
);

/// Whose accounts those are.
pub(super) const ADMITTED: WordList = WordList(
    "account accounts bank card cards device devices employee employees identities identity login logins phone profile sim \
     user users wallet wallets",
);

/// Words of an argument that says which operation is called, also before `name`, `id` or `slug`.
pub(super) const OPERATIONS: WordList = WordList(
    "automation flow job lambda macro recipe routine workflow action actor agent api capability cmd command endpoint func function handler method op operation plugin procedure rpc \
     service skill subcommand tool tools verb",
);

/// Words of the arguments of an operation, where they are a text.
pub(super) const WRITTEN_OUT: WordList =
    WordList("body data request args arguments input inputs json kwargs parameters params payload");

/// Words about languages of queries.
pub(super) const LANGUAGES: WordList =
    WordList("cypher gql graph graphql gremlin kql mutate mutation odata promql soql sparql sql");

/// Arguments that hold a query where the name says that there is one.
pub(super) const DOCUMENTS: WordList = WordList(
    "body content doc document expression input message operation operations payload request selection source text",
);

/// Verbs that ask somebody about what an argument says.
pub(super) const ASKED: WordList = WordList(
    "check dig geocode geolocate identify look lookup nslookup ping probe resolve trace validate verify whois",
);

/// Arguments with the name of something that is looked up.
pub(super) const LOOKED_UP: WordList =
    WordList("company name names nickname ticker title username usernames");
