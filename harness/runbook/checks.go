package runbook

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"backout/harness/service"
)

// ask is a command to paste, and what it must show. Where there is no command, expect says what to do instead.
type ask struct{ command, expect string }

// asks is a pre-check or a validation as a person does it.
func (b Book) asks(c service.Check) []ask {
	p := b.Plan
	s := p.Release.Service
	switch c.Kind() {
	case "database":
		return []ask{{
			fmt.Sprintf(`psql -XAtd "$%s" -c 'select current_database(), session_user, current_user'`, c.Database.URL),
			fmt.Sprintf("Expected: %s.", tick(strings.Join([]string{c.Database.Name, c.Database.Role, c.Database.Role}, "|"))),
		}}
	case "unblocked":
		var all []ask
		for _, name := range b.databases() {
			all = append(all, ask{fmt.Sprintf(`psql -Xd "$%s" -c "%s"`, name, blockers(c.Unblocked)),
				"Expected: `(0 rows)`. Each row is a transaction that the step would wait behind, and everybody else behind the step."})
		}
		return all
	case "dependants":
		return []ask{{"", fmt.Sprintf("There is no command to paste: Backout runs the journeys of %s against a clone of the target. By hand rest on the last green drill "+
			"of this plan, which %s tells, and on the word of whoever runs %s.", md(strings.Join(s.Dependants, ", ")),
			tick(fmt.Sprintf("backout gate --service %s --release %s", s.Name, p.From)), md(strings.Join(s.Dependants, ", ")))}}
	case "artefact":
		switch p.Way() {
		case service.InProcesses:
			return []ask{{fmt.Sprintf(`ls -l "$RELEASES/%s/%s"`, s.Name, c.Artefact), "Expected: the program's files, and no error."}}
		case service.InContainers:
			return []ask{{fmt.Sprintf(`docker image inspect --format '{{.Id}}' "$IMAGES:%s" || docker pull "$IMAGES:%[1]s"`, c.Artefact), "Expected: the image's digest, and no error."}}
		}
		return []ask{{fmt.Sprintf(`docker manifest inspect "$IMAGES:%s" >/dev/null && echo there`, c.Artefact), "Expected: `there`."}}
	case "every instance serves":
		if p.Way() == service.InKubernetes && s.Kubernetes != nil {
			return []ask{{fmt.Sprintf(`kubectl get pods -l %s -o custom-columns='POD:.metadata.name,IMAGE:.spec.containers[*].image,READY:.status.containerStatuses[*].ready,GOING:.metadata.deletionTimestamp'`, s.Kubernetes.Pods),
				fmt.Sprintf("Expected within %s: every pod has the image of %s, is ready (`true`) and is not going (`<none>`).", spoken(c.Within), md(c.Serves))}}
		}
		return []ask{{fmt.Sprintf(`curl -fsS -o /dev/null -D - http://ADDRESS%s | grep -i '^%s:'`, s.Ready, s.Header),
			fmt.Sprintf("For each of the %d instances by itself, not through what stands in front of them. Expected within %s: %s.",
				s.Instances, spoken(c.Within), tick(s.Header+": "+c.Serves))}}
	case "revision":
		return []ask{{c.Revision.Run, "Expected: " + tick(c.Revision.Is) + "."}}
	case "kubectl":
		return []ask{{"kubectl config current-context; kubectl config view --minify -o 'jsonpath={..namespace}'",
			fmt.Sprintf("Expected: %s and %s; where nothing is shown for the namespace, it is `default`.", tick(c.Kubectl.Context), tick(c.Kubectl.Namespace))}}
	case "lag":
		return []ask{{fmt.Sprintf(`psql -XAtd "$%s" -c 'select slot_name, active, pg_wal_lsn_diff(pg_current_wal_lsn(), coalesce(confirmed_flush_lsn, restart_lsn)) from pg_replication_slots where not temporary'`, c.Lag.URL),
			fmt.Sprintf("Expected: each line has `t` in its middle and less than %d at its end.", c.Lag.Below)}}
	case "backup":
		command := c.Backup.Run
		if command == "" {
			command = "ls -lt --time-style=full-iso -- " + c.Backup.File + " | head -n 1"
		}
		return []ask{{command, fmt.Sprintf("Expected: a time that is less than %s ago.", spoken(c.Backup.Within))}}
	case "space":
		command := c.Space.Run
		if command == "" {
			command = "df --output=avail -B1 -- " + c.Space.Path
		}
		return []ask{{command, fmt.Sprintf("Expected: at least %d bytes.", c.Space.AtLeast)}}
	case "command":
		return []ask{{c.Command.Run, fmt.Sprintf("Expected within %s: it has printed what matches %s.", spoken(c.Within), tick(c.Command.Output))}}
	case "journey":
		return []ask{{"", fmt.Sprintf("As a user, where users come in. Expected within %s:\n\n%s", spoken(c.Within), requests(s, c.Journey))}}
	}
	return nil
}

// databases are the names of the plan's databases, each database once.
func (b Book) databases() []string {
	seen := map[string]bool{}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(b.Plan.Env)) {
		if from := b.Plan.Env[name]; service.IsDatabase(from) && !seen[from] {
			seen[from] = true
			names = append(names, name)
		}
	}
	return names
}

// blockers is SQL that returns the transactions which hold a lock on the tables and are idle, prepared, or older than a second.
func blockers(tables []string) string {
	var quoted []string
	for _, t := range tables {
		quoted = append(quoted, "'"+t+"'::regclass")
	}
	return "select l.pid, a.usename, a.state, now() - a.xact_start as age, l.mode, l.relation::regclass from pg_locks l " +
		"left join pg_stat_activity a using (pid) where l.relation in (" + strings.Join(quoted, ", ") + ") and l.granted " +
		"and (l.pid is null or a.state like 'idle in transaction%' or a.xact_start < now() - interval '1 second')"
}

// requests is what a journey asks, a line a request.
func requests(s *service.Service, name string) string {
	var t strings.Builder
	for _, j := range s.Journeys {
		if j.Name != name {
			continue
		}
		for _, r := range j.Steps {
			body := ""
			if r.Body != nil {
				if text, err := json.Marshal(r.Body); err == nil { // it came from YAML, so it is plain
					body = " with " + tick(string(text))
				}
			}
			fmt.Fprintf(&t, "- %s%s is answered with %d\n", tick(r.Method+" "+r.Path), body, r.Expect)
		}
	}
	return strings.TrimRight(t.String(), "\n")
}
