//! The word lists of proposals.
//!
//! An unlisted word counts as suspicious. So a missing word costs a reviewer a glance, while a wrong one can cost more:
//! `open`, `resolve`, `take` and `load` do not count as reading.

/// A list of words, separated by spaces.
#[derive(Debug, Clone, Copy)]
pub(super) struct WordList(&'static str);

impl WordList {
    /// Whether the list contains the word.
    pub(super) fn has(self, word: &str) -> bool {
        self.0.split_ascii_whitespace().any(|own| own == word)
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
    "accept acknowledge acquire activate add adjust advance align allocate alter amend annotate answer append apply \
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
    "abort admin allow approve authorise authorize ban bash bill bleed block burn buy cancel cleanup clear command \
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
     import index issue join label leave like link load lock log map mark measure message mirror mount name new \
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
    "arxiv bing crawl crypto currency duckduckgo exchange forecast google http image images internet maps navigate news paper papers \
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
    "1password bitwarden certificate certificates cookie cookies credential credentials dotenv doppler env \
     infisical kubeconfig keepass keychain keyring keystore lastpass mnemonic otp passkey passphrase password passwords pem secret \
     secretmanager secrets secretsmanager ssh token tokens totp vault vaults wallet",
);

/// Words that make `key` a secret.
pub(super) const OPENING: WordList =
    WordList("access api deploy encryption kms license private secret service signing ssh");

/// Words about confidential data.
pub(super) const CONFIDENTIAL: WordList = WordList(
    "account accounts bank billing calendar contact contacts customer customers database db email emails employee employees inbox \
     invoice mail mailbox messages patient patients payment payments payroll profile query salary sql users",
);

/// Words about permissions and global settings: changing these is `admin`.
pub(super) const POWERS: WordList = WordList(
    "access acl acls admin admins billing collaborator collaborators config configuration dns domain firewall guardrail iam \
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
     eval expr expression gql graphql graphql_query gremlin hcl javascript js js_code kql manifest manifests mutation \
     pipeline playbook powershell program python python_code raw_query raw_sql run_command script scripts shell \
     shell_command soql snippet source_code sparql sql sql_query sql_statement statement statements yaml",
);

/// Arguments that select the operation.
pub(super) const CHOOSERS: WordList = WordList(
    "action api_method cmd command function http_method method op operation operation_id sub_command subcommand verb",
);

/// Arguments that select the operation if its arguments are passed on as well.
pub(super) const CALLED: WordList = WordList(
    "actor endpoint function_name operation_name service skill tool tool_id tool_name tool_slug",
);

/// Arguments with the arguments of another operation.
pub(super) const PASSED_ON: WordList = WordList(
    "args arguments body data input inputs json kwargs options parameters params payload request variables",
);

/// Arguments with free text to search for or ask.
pub(super) const FREE_TEXT: WordList = WordList(
    "content input instruction instructions intent keyword keywords message phrase prompt q query question search \
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

/// First words of arguments with an output path.
pub(super) const OUTPUTS: WordList = WordList("dest destination download export out output save");

/// Last words of arguments with a path.
pub(super) const FILES: WordList = WordList("dir directory file filename filepath folder path");

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
    "bash bash_command cli_args cmd cmds code code_snippet command command_line commands javascript js js_code powershell \
     program python python_code run_command script scripts shell shell_command snippet source_code",
);

/// Verbs that add something or operate a user interface, for which `destructiveHint` is ignored.
pub(super) const GENTLE: WordList = WordList(
    "add append attach click close comment copy create drag fill fork handle hover link navigate open post press reply resize \
     scroll select send type upload zoom",
);
