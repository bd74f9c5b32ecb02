package runbook

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// mechanism is a way of rolling back that a command shows by its form.
type mechanism struct {
	form *regexp.Regexp
	does string // what it does, for people; $1 and so on stand for what the form found
	look string // a command that shows what it has done, changing nothing; empty: none is known
}

// mechanisms by the form of their commands. A command may be several of them.
var mechanisms = []mechanism{
	{regexp.MustCompile(`\bgoose\b[^|;&\n]*?postgres (\S+) down-to ([0-9]+)`),
		"goose runs the Down of each migration above $2 on $1, the newest first, and takes it out of its record.",
		`goose -dir migrations postgres $1 status`},
	{regexp.MustCompile(`\bpsql\b[^|;&\n]*?\s-f\s*(\S+)`), "psql runs the SQL file $1. What it does in one transaction is done whole or not at all.", ""},
	{regexp.MustCompile(`\bpsql\b[^|;&\n]*?\s-c\s`), "psql runs the statements that stand in the command.", ""},
	{regexp.MustCompile(`\bflyway\b[^|;&\n]*?\bundo\b`), "Flyway runs undo migrations, the newest version first: one, or those down to a target. It stops without an error at a version that has none.", "flyway info"},
	{regexp.MustCompile(`\bliquibase\b[^|;&\n]*?\brollback\b`), "Liquibase takes back all change sets that came after a tag, the newest first.", "liquibase history"},
	{regexp.MustCompile(`\bpg_restore\b`), "pg_restore reads a dump back: what it holds is as it was when it was made, and nothing that was written since.", ""},
	{regexp.MustCompile(`\bpg_basebackup\b`), "pg_basebackup copies a whole server, with all of its databases, while others write.", ""},
	{regexp.MustCompile(`\brecovery_target_(name|time|lsn|xid)=["']?([^\s"']+)`),
		"PostgreSQL replays WAL over a base backup up to the $1 $2, and no further. It needs a server of its own: where others write, what came later would be lost.", ""},
	{regexp.MustCompile(`\bkubectl rollout undo ([^&|;\n]+)`), "Kubernetes gives $1 the pod template of an earlier revision; ConfigMaps, Secrets and what the database holds stay as they are.",
		"kubectl rollout history deployment"},
	{regexp.MustCompile(`\bkubectl rollout status\b`), "kubectl waits until the new pods are ready; old ones may still answer for moments.", ""},
	{regexp.MustCompile(`\bkubectl apply\b`), "kubectl lays the manifests over what the cluster has; what is no longer in them stays.", ""},
	{regexp.MustCompile(`\bkubectl (set|patch|scale|delete|create|replace|label|annotate)\b`), "kubectl changes single objects of the cluster ($1).", ""},
	{regexp.MustCompile(`\bhelm rollback (\S+)`), "Helm brings the release $1 to an earlier revision, hooks and values with it, as a new revision.", "helm history $1"},
	{regexp.MustCompile(`\bgit revert\b`), "git makes a commit that undoes another one; whoever watches the repository brings it to where it runs.", `git -C "$REPOSITORY" log --oneline -5`},
	{regexp.MustCompile(`\bargocd app rollback\b`), "Argo CD goes back to a revision of its history; it refuses while it synchronises by itself.", ""},
	{regexp.MustCompile(`"?\$\{?COMPOSE\}?"?\s+up\b`), "Compose replaces the containers whose image or configuration differs.", `"$COMPOSE" ps`},
	{regexp.MustCompile(`\bflushdb\b`), "The whole cache is emptied; until it is warm again the database carries the load.", ""},
	{regexp.MustCompile(`\bterraform apply\b`), "Terraform makes what is there as its configuration says, and writes that into its state.", "terraform plan"},
	{regexp.MustCompile(`\bansible-playbook\b(?:\s+(?:-[ielutfM]\s+\S+|--?[a-z][^\s;&|]*))*\s+([^\s;&|-][^\s;&|]*\.ya?ml)(?:[^;&|\n]*[^;&|\s])?`),
		"Ansible runs the playbook $1 on the hosts of its inventory, and on no other. A task that finds things as they should be changes nothing, and then its handlers do not run; PLAY RECAP says of each host what changed and what failed.",
		"$0 --check --diff"},
	{regexp.MustCompile(`\brundeck-run (\S+)`), "Rundeck runs its job $1, and the log of the execution is printed as it comes.", ""},
	{regexp.MustCompile(`\bspinnaker-run (\S+)`), "Spinnaker runs a pipeline of its application $1; each stage is told with how it ended.", ""},
	{regexp.MustCompile(`\bargocd-rollback (\S+) ([0-9]+)`), "Argo CD applies what the application $1 was at entry $2 of its history; it refuses while it synchronises by itself.", "argocd app get $1"},
	{regexp.MustCompile(`\blaunchdarkly-off (\S+) (\S+) (\S+)`), "LaunchDarkly's flag $2 of the project $1 is turned off in $3.", ""},
	{regexp.MustCompile(`\bflag-file-off (?:flagd|go-feature-flag) (\S+) (\S+)`), "The flag $1 is disabled in the file $2, and each server is asked until it says so.", `jq '.["$1"] // .flags["$1"]' $2`},
	{regexp.MustCompile(`\becho\b[^|;&\n]*>\s*(\S+)`), "It writes the file $1.", "cat $1"},
}

// program is a script in the deployed directory that a command runs.
var program = regexp.MustCompile(`(?:^|[\s;&|("])(\./[A-Za-z0-9._/-]+)`)

// does says what a step does, by its mechanisms and by what its scripts say of themselves.
func (b Book) does(n int) []string {
	run := b.Plan.Steps[n-1].Run
	var all []string
	for _, m := range mechanisms {
		for _, found := range m.form.FindAllStringSubmatchIndex(run, -1) {
			if does := md(strings.TrimSpace(string(m.form.ExpandString(nil, m.does, run, found)))); !slices.Contains(all, does) {
				all = append(all, does)
			}
		}
	}
	for _, found := range program.FindAllStringSubmatch(run, -1) {
		if says := b.Scripts[found[1]]; says != "" {
			all = append(all, fmt.Sprintf("%s: %s.", tick(found[1]), md(says)))
		} else {
			all = append(all, fmt.Sprintf("It runs the script %s; read it before.", tick(found[1])))
		}
	}
	if files := b.Reverts[n]; len(files) > 0 {
		var names []string
		for _, f := range files {
			names = append(names, tick(f))
		}
		all = append(all, "Migrations whose Down it runs, in this order: "+strings.Join(names, ", ")+".")
	}
	if len(all) == 0 {
		all = append(all, "It runs the command below as it stands.")
	}
	return all
}

// look is how to see what a step has done so far; empty: no command is known that tells.
func (b Book) look(n int) string {
	run := b.Plan.Steps[n-1].Run
	for _, m := range mechanisms {
		if found := m.form.FindStringSubmatchIndex(run); found != nil && m.look != "" {
			return tick(string(m.form.ExpandString(nil, m.look, run, found))) + " shows how far it came."
		}
	}
	return ""
}

// reverts are the forms in which a command takes migrations back, with a folder and the number to which it goes.
var (
	gooseDown = regexp.MustCompile(`\bdown-to ([0-9]+)`)
	gooseDir  = regexp.MustCompile(`\s-dir[ =](\S+)`)
)

// downTo is the folder of migrations that a command takes back, and to which number; scripts that hand `down-to N` on
// take those of the folder migrations.
func downTo(run string) (folder string, to int64, ok bool) {
	m := gooseDown.FindStringSubmatch(run)
	if m == nil {
		return "", 0, false
	}
	to, err := strconv.ParseInt(m[1], 10, 64)
	folder = "migrations"
	if d := gooseDir.FindStringSubmatch(run); d != nil {
		folder = strings.Trim(d[1], `"'`)
	}
	return folder, to, err == nil
}
