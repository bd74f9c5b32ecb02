package verdict

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"backout/harness/evidence"
)

const mostDetails = 40

// findings of one kind, in order of what they are of.
func (j *judging) findings(check string) []numbered[evidence.Finding] {
	var all []numbered[evidence.Finding]
	for _, x := range j.f.findings {
		if x.v.Check != check || j.f.aboutRemoved(x.v.Of) {
			continue
		}
		if e := j.f.effects[x.v.Of]; check == evidence.CheckEffects && e != nil && j.tally.withinBudget {
			left := *x.v // what a write that may be lost would have caused may be lost with it
			left.Bad -= int64(e.ofLost)
			x.v = &left
		}
		all = append(all, x)
	}
	slices.SortStableFunc(all, func(a, b numbered[evidence.Finding]) int { return cmp.Compare(a.v.Of, b.v.Of) })
	return all
}

// answers gathers what an audit's question gave. A question is one that could not be asked, or whose answer has an error
// and nothing bad, or one that nobody asked of what is wanted: then nothing can be said, unless something bad was seen.
type answers struct {
	bad, open, details []string
	evidence           []int64
	asked              int
	checked            int64
}

// ask goes through the findings of a check. wanted are the names, or their beginnings up to a slash, that must be among
// them. say puts a bad one into words.
func (j *judging) ask(check string, wanted []string, say func(of string, x *evidence.Finding) string) answers {
	var a answers
	got := map[string]bool{}
	for _, x := range j.findings(check) {
		who, of := x.v.Of, x.v.Of
		if node, rest, ok := strings.Cut(of, "/"); ok && has(j.run.Nodes, node) {
			who, of = node, j.f.nodeTitle(node)+": "+rest
		} else if has(j.run.Nodes, of) {
			of = j.f.nodeTitle(of)
		}
		got[who], got[x.v.Of] = true, true
		switch {
		case x.v.Asked && x.v.Bad > 0:
			a.bad = append(a.bad, say(of, x.v))
			a.evidence = append(a.evidence, x.n)
			a.details = append(a.details, say(of, x.v))
			for _, row := range x.v.Rows {
				a.details = append(a.details, "  "+short(row))
			}
		case !x.v.Asked, x.v.Error != "":
			a.open = append(a.open, strings.TrimSuffix(of+" could not be asked: "+short(x.v.Error), ": "))
			a.evidence = append(a.evidence, x.n)
		default:
			a.asked++
			a.checked += x.v.Checked
		}
	}
	for _, name := range wanted {
		if !got[name] {
			if has(j.run.Nodes, name) {
				name = j.f.nodeTitle(name)
			}
			a.open = append(a.open, name+" was not asked")
		}
	}
	return a
}

// result of the answers; good says what was checked when all is well.
func (a answers) result(good string) result {
	r := result{evidence: a.evidence, details: a.details}
	if len(r.details) > mostDetails {
		r.details = append(r.details[:mostDetails:mostDetails], fmt.Sprintf("and %d lines more", len(a.details)-mostDetails))
	}
	switch {
	case len(a.bad) > 0:
		r.state, r.finding = Broken, semicolons(a.bad, 3)
	case len(a.open) > 0:
		r.state, r.finding = Unjudged, semicolons(a.open, 3)
	case a.asked == 0:
		r.state, r.finding = Unjudged, "nobody asked"
	default:
		r.state, r.finding = Kept, good
	}
	return r
}

// together joins items that say the same of several: "the primary: x", "the logical replica: x" become "the primary and
// the logical replica: x".
func together(items []string) []string {
	var whats []string
	who := map[string][]string{}
	for _, item := range items {
		name, what, ok := strings.Cut(item, ": ")
		if !ok {
			name, what = "", item
		}
		if _, known := who[what]; !known {
			whats = append(whats, what)
		}
		if name != "" || who[what] == nil {
			who[what] = append(who[what], name)
		}
	}
	for i, what := range whats {
		if names := who[what]; names[0] != "" {
			whats[i] = list(names, 3) + ": " + what
		}
	}
	return whats
}

func semicolons(items []string, most int) string {
	items = together(items)
	if len(items) > most {
		return strings.Join(items[:most], "; ") + "; and " + number(int64(len(items)-most)) + " more"
	}
	return strings.Join(items, "; ")
}

// wholeNodes are the nodes that hold everything: the primary and its physical standbys. A subscriber holds what is published.
func (j *judging) wholeNodes() []string {
	var names []string
	for _, name := range j.run.Nodes {
		if j.f.role(name) != "logical" {
			names = append(names, name)
		}
	}
	return names
}

func nodesHaveSchema(j *judging) result {
	r := result{state: Kept}
	primary := false // even there it differs: no matter of replication
	var bad, open []string
	for _, name := range j.run.Nodes {
		who := j.f.nodeTitle(name)
		s, n := j.audited(name)
		switch {
		case n == 0:
			open = append(open, who+" was not read at the audit")
		case !s.read:
			open = append(open, strings.TrimSuffix(who+" could not be read: "+s.err, ": "))
			r.evidence = append(r.evidence, s.n)
		case !s.equal:
			bad = append(bad, who+": "+s.differs())
			r.evidence = append(r.evidence, s.n)
			primary = primary || j.f.role(name) == "primary"
			for _, line := range s.missing {
				r.details = append(r.details, who+" - "+line)
			}
			for _, line := range s.extra {
				r.details = append(r.details, who+" + "+line)
			}
		}
	}
	if len(r.details) > mostDetails {
		r.details = append(r.details[:mostDetails:mostDetails], fmt.Sprintf("and %d lines more", len(r.details)-mostDetails))
	}
	switch {
	case len(bad) > 0:
		r.state, r.finding = Broken, semicolons(bad, 3)
		if primary {
			r.remedy = "Mend the Down that the plan runs: it must bring back what is missing and take away what was not there before."
		}
	case len(open) > 0:
		r.state, r.finding = Unjudged, semicolons(open, 3)
	default:
		r.finding = count(int64(len(j.run.Nodes)), "node has ", "nodes have ") + j.targetSchema()
	}
	return r
}

// nodesHoldSameRows compares the fingerprints of every table, after every node has reached the quiet point.
func nodesHoldSameRows(j *judging) result {
	var a answers
	for _, x := range j.findings(evidence.CheckQuiet) {
		who := x.v.Of
		if has(j.run.Nodes, who) {
			who = j.f.nodeTitle(who)
		}
		switch {
		case !x.v.Asked:
			a.open = append(a.open, strings.TrimSuffix(who+" could not be asked how far it is: "+short(x.v.Error), ": "))
			a.evidence = append(a.evidence, x.n)
		case x.v.Bad > 0 || x.v.Error != "":
			text := strings.TrimSuffix(who+" did not catch up with the primary: "+short(cmp.Or(x.v.Error, x.v.Text)), ": ")
			a.bad, a.details = append(a.bad, text), append(a.details, text)
			a.evidence = append(a.evidence, x.n)
		}
	}
	tables := map[string]map[string]bool{}
	opened := map[string]bool{} // "node table" whose differing chunks are in the log
	for _, x := range j.f.chunks {
		if x.v.Lo != "" || x.v.Hi != "" {
			opened[x.v.Node+" "+x.v.Table] = true
		}
	}
	for _, x := range j.f.chunks {
		c := x.v
		if j.f.aboutRemoved(c.Node) {
			continue
		}
		part := c.Lo != "" || c.Hi != ""
		who := j.f.nodeTitle(c.Node)
		if tables[c.Node] == nil {
			tables[c.Node] = map[string]bool{}
		}
		tables[c.Node][c.Table] = true
		switch {
		case c.Error != "":
			a.open = append(a.open, fmt.Sprintf("%s of %s could not be compared: %s", c.Table, who, short(c.Error)))
			a.evidence = append(a.evidence, x.n)
		case !c.Equal && part:
			a.details = append(a.details, fmt.Sprintf("%s: %s of %s from %s to %s differ", who, count(c.Count, "row", "rows"), c.Table, short(c.Lo), short(c.Hi)))
			for _, row := range c.Differ {
				a.details = append(a.details, "  "+short(row))
			}
		case !c.Equal:
			text := fmt.Sprintf("%s: %s differs", who, c.Table)
			if c.Count > 0 {
				text = fmt.Sprintf("%s: %s of %s differ", who, count(c.Count, "row", "rows"), c.Table)
			}
			a.bad = append(a.bad, text)
			a.evidence = append(a.evidence, x.n)
			a.details = append(a.details, text)
			for _, row := range c.Differ {
				a.details = append(a.details, "  "+short(row))
			}
		default:
			a.asked++
			if j.f.role(c.Node) == "primary" && !part {
				a.checked += c.Rows
			}
		}
		if !c.Equal && part && c.Error == "" && !j.wholeTable(c.Node, c.Table) {
			a.bad = append(a.bad, fmt.Sprintf("%s: %s of %s differ", who, count(c.Count, "row", "rows"), c.Table))
			a.evidence = append(a.evidence, x.n)
		}
	}
	everywhere := map[string]bool{}
	for _, name := range j.run.Nodes {
		for table := range tables[name] {
			everywhere[table] = true
		}
	}
	for _, name := range j.run.Nodes {
		switch {
		case len(tables[name]) == 0:
			a.open = append(a.open, j.f.nodeTitle(name)+" was not compared")
		case j.f.role(name) != "logical":
			for _, table := range keys(everywhere) {
				if !tables[name][table] {
					a.open = append(a.open, table+" of "+j.f.nodeTitle(name)+" was not compared")
				}
			}
		}
		if !slices.ContainsFunc(j.f.findings, func(x numbered[evidence.Finding]) bool {
			return x.v.Check == evidence.CheckQuiet && x.v.Of == name
		}) {
			a.open = append(a.open, j.f.nodeTitle(name)+" was not asked whether it had caught up")
		}
	}
	return a.result(fmt.Sprintf("%s of %s are the same on %d nodes", count(a.checked, "row", "rows"),
		count(int64(len(everywhere)), "table", "tables"), len(j.run.Nodes)))
}

// wholeTable says whether the log has the fingerprint of a whole table that differs.
func (j *judging) wholeTable(node, table string) bool {
	return slices.ContainsFunc(j.f.chunks, func(x numbered[evidence.Chunk]) bool {
		return x.v.Node == node && x.v.Table == table && x.v.Lo == "" && x.v.Hi == "" && !x.v.Equal && x.v.Error == ""
	})
}

func keys(m map[string]bool) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func sameTable(a, b string) bool {
	return a[strings.LastIndexByte(a, '.')+1:] == b[strings.LastIndexByte(b, '.')+1:]
}

// frozenOn are the nodes that must hold the frozen rows of a table: all but a subscriber that the table is not replicated to,
// which has no fingerprint of it.
func (j *judging) frozenOn(table string) []string {
	var names []string
	for _, name := range j.run.Nodes {
		holds := j.f.role(name) != "logical"
		for _, x := range j.f.chunks {
			holds = holds || x.v.Node == name && sameTable(x.v.Table, table)
		}
		if holds {
			names = append(names, name)
		}
	}
	return names
}

func frozenUnchanged(j *judging) result {
	var wanted []string
	for _, table := range j.run.Service.Frozen {
		for _, name := range j.frozenOn(table) {
			wanted = append(wanted, name+"/"+table)
		}
	}
	a := j.ask(evidence.CheckFrozen, wanted, func(of string, x *evidence.Finding) string {
		who, table, ok := strings.Cut(of, ": ")
		if !ok {
			who, table = "", of
		}
		return strings.TrimPrefix(fmt.Sprintf("%s: %s of %s that nobody touched differ", who, count(x.Bad, "row", "rows"), table), ": ")
	})
	rows := int64(0)
	for _, table := range j.run.Service.Frozen {
		_, all := j.frozenRows(table)
		rows += all
	}
	return a.result(fmt.Sprintf("%s of %s are what they were, on every node", count(rows, "row", "rows"), list(j.run.Service.Frozen, 3)))
}

// frozenRows of a table: how many are equal to the baseline on every node that must hold them, and how many there are. A
// table that was never looked at counts as one row that is not equal.
func (j *judging) frozenRows(table string) (equal, all int64) {
	least := map[string]int64{}
	for _, x := range j.findings(evidence.CheckFrozen) {
		node, of, ok := strings.Cut(x.v.Of, "/")
		if !ok || !sameTable(of, table) {
			continue
		}
		all = max(all, x.v.Checked)
		good := max(x.v.Checked-x.v.Bad, 0)
		if !x.v.Asked {
			good = 0
		}
		if was, ok := least[node]; !ok || good < was {
			least[node] = good
		}
	}
	if all == 0 && len(least) == 0 {
		return 0, 1
	}
	equal = all
	for _, name := range j.frozenOn(table) {
		equal = min(equal, least[name])
	}
	return equal, all
}

func writesExactlyOnce(j *judging) result {
	t := &j.tally
	a := j.ask(evidence.CheckLedger, j.writers(), func(string, *evidence.Finding) string { return "" })
	// What is wrong is in the fates of the writes; the finding says only whether they were looked up.
	a.asked += len(a.bad)
	a.bad, a.details, a.evidence = nil, nil, nil
	add := func(n int, text string, is ...fate) {
		if n == 0 {
			return
		}
		a.bad = append(a.bad, text)
		a.details = append(a.details, text)
		for _, x := range j.f.examples {
			if slices.Contains(is, x.fate) {
				a.details = append(a.details, "  "+x.text())
				a.evidence = append(a.evidence, x.n)
			}
		}
	}
	add(t.lost, fmt.Sprintf("%s of %s acknowledged writes %s lost%s", number(int64(t.lost)), number(t.acknowledged),
		plural(t.lost, "is", "are"), j.lossesByWindow()), lost, absent)
	add(t.duplicated, fmt.Sprintf("%s there more than once", count(int64(t.duplicated), "write is", "writes are")), duplicated)
	add(t.transformed, "not as sent: "+strings.Join(t.undeclared, "; "), transformed)
	if len(a.bad) > 0 {
		a.details = append(a.details, t.overspent...)
	}
	if t.unchecked > 0 {
		a.open = append(a.open, fmt.Sprintf("%s of %s acknowledged writes were not looked up", number(int64(t.unchecked)), number(t.acknowledged)))
	}
	checked := int64(0)
	for _, x := range j.findings(evidence.CheckLedger) {
		checked += x.v.Checked
	}
	if t.acknowledged == 0 {
		a.open = append(a.open, "no write was acknowledged")
	} else if checked > int64(t.seen) {
		a.open = append(a.open, fmt.Sprintf("%s writes were looked up and only %s of them are in the log", number(checked), number(int64(t.seen))))
	}
	good := fmt.Sprintf("%s acknowledged writes are there, each once and as sent", number(t.acknowledged))
	if t.cancelled > 0 {
		good += ", or were taken back (" + number(int64(t.cancelled)) + ")"
	}
	if extra := append(slices.Clone(t.budgets), t.allowed...); len(extra) > 0 {
		good = fmt.Sprintf("%s of %s acknowledged writes are there; %s", number(t.kept), number(t.acknowledged), strings.Join(extra, "; "))
	}
	return a.result(good)
}

// lossesByWindow says when the writes that are lost were made.
func (j *judging) lossesByWindow() string {
	var texts []string
	for _, w := range j.tally.windows {
		if n := w.Fates[evidence.Lost] + w.Fates[evidence.Absent]; n > 0 {
			texts = append(texts, fmt.Sprintf("%s %s", number(int64(n)), map[string]string{
				"before": "from before the deploy", "bad": "from while the release ran", "during": "from during the rollback", "after": "from after it"}[w.Name]))
		}
	}
	if len(texts) == 0 {
		return ""
	}
	return ": " + list(texts, 4)
}

func (b broken) text() string {
	text := b.journey + " " + short(b.key)
	switch {
	case len(b.fields) > 0:
		text += ": " + short(strings.Join(b.fields, "; "))
	case b.fate == duplicated:
		text += ": " + count(int64(b.rows), "row", "rows")
	}
	return strings.TrimSpace(text)
}

// writers are the journeys that write, by the service's word and by the ledger.
func (j *judging) writers() []string { return sorted(j.run.Service.Writes) }

func effectsExactlyOnce(j *judging) result {
	a := j.ask(evidence.CheckEffects, sorted(j.run.Service.Effects), func(of string, x *evidence.Finding) string {
		return fmt.Sprintf("%s of %s did not happen as often as it should", count(x.Bad, "write", "writes"), of)
	})
	var names []string
	for name := range j.f.effects {
		names = append(names, name)
	}
	for _, name := range sorted(names) {
		e := j.f.effects[name]
		wrong := e.wrong
		if j.tally.withinBudget {
			wrong -= e.ofLost
		}
		if wrong == 0 {
			continue
		}
		said := slices.ContainsFunc(j.findings(evidence.CheckEffects), func(x numbered[evidence.Finding]) bool {
			return x.v.Of == name && x.v.Asked && x.v.Bad > 0
		})
		if !said {
			a.bad = append(a.bad, fmt.Sprintf("%s of %s did not happen as often as it should", count(int64(wrong), "write", "writes"), name))
		}
		for _, x := range e.examples {
			a.details = append(a.details, fmt.Sprintf("  %s %s: %s", name, x.text(), count(int64(x.rows), "time", "times")))
			a.evidence = append(a.evidence, x.n)
		}
	}
	return a.result(fmt.Sprintf("%s had each effect as often as they should", count(a.checked, "write", "writes")))
}

func nothingResurrected(j *judging) result {
	t := &j.tally
	var a answers
	if t.resurrected > 0 {
		a.bad = []string{fmt.Sprintf("%s taken back and there again", count(int64(t.resurrected), "write was", "writes were"))}
		for _, x := range j.f.examples {
			if x.fate == resurrected {
				a.details = append(a.details, x.text())
				a.evidence = append(a.evidence, x.n)
			}
		}
	}
	if t.cancelledUnchecked > 0 {
		a.open = append(a.open, fmt.Sprintf("%s of %s that were taken back were not looked up", number(int64(t.cancelledUnchecked)), number(int64(t.cancelled))))
	}
	a.asked = t.cancelled - t.cancelledUnchecked
	good := fmt.Sprintf("%s taken back and not there", count(int64(t.cancelled-t.takenBackLost), "write was", "writes were"))
	if t.takenBackLost > 0 {
		good += "; of " + number(int64(t.takenBackLost)) + " more that was lost, which the budget allows"
	}
	return a.result(good)
}

func noPhantoms(j *judging) result {
	a := j.ask(evidence.CheckPhantoms, j.writers(), func(of string, x *evidence.Finding) string {
		return fmt.Sprintf("%s of %s that nobody sent", count(x.Bad, "write", "writes"), of)
	})
	if t := j.tally.phantoms; t > 0 {
		if len(a.bad) == 0 {
			a.bad = []string{fmt.Sprintf("%s there that should not be", count(int64(t), "write is", "writes are"))}
		}
		for _, x := range j.f.examples {
			if x.fate == phantom {
				a.details = append(a.details, "  "+x.text())
				a.evidence = append(a.evidence, x.n)
			}
		}
	}
	return a.result(fmt.Sprintf("%s were compared with the ledger", count(a.checked, "row", "rows")))
}

func referencesLead(j *judging) result {
	wanted := j.wholeNodes()
	for _, node := range j.wholeNodes() {
		for _, of := range j.run.Service.References {
			wanted = append(wanted, node+"/"+of)
		}
	}
	return j.ask(evidence.CheckReferences, wanted, func(of string, x *evidence.Finding) string {
		return fmt.Sprintf("%s: %s to nothing", of, count(x.Bad, "row leads", "rows lead"))
	}).result("every row that refers to another finds it, on every node")
}

func invariantsHold(j *judging) result {
	var wanted []string
	for _, node := range j.wholeNodes() {
		for _, of := range j.run.Service.Invariants {
			wanted = append(wanted, node+"/"+of)
		}
	}
	return j.ask(evidence.CheckInvariants, wanted, func(of string, x *evidence.Finding) string {
		return fmt.Sprintf("%s: %s it", of, count(x.Bad, "row breaks", "rows break"))
	}).result(count(int64(len(j.run.Service.Invariants)), "invariant holds", "invariants hold"))
}

func sequencesAhead(j *judging) result {
	return j.ask(evidence.CheckSequences, j.wholeNodes(), func(of string, x *evidence.Finding) string {
		return strings.TrimSuffix(fmt.Sprintf("%s is behind its column: %s", of, short(x.Text)), ": ")
	}).result("no sequence will give out a number that is taken")
}

func migrationsMatch(j *judging) result {
	return j.ask(evidence.CheckMigrations, j.run.Nodes, func(of string, x *evidence.Finding) string {
		return strings.TrimSuffix(fmt.Sprintf("%s: its migrations are not what its schema shows: %s", of, short(x.Text)), ": ")
	}).result("the versions that are recorded as applied are those that the schema shows, on every node")
}

func jobsDone(j *judging) result {
	return j.ask(evidence.CheckJobs, sorted(j.run.Service.Jobs), func(of string, x *evidence.Finding) string {
		return strings.TrimSuffix(fmt.Sprintf("%s of %s not done: %s", count(x.Bad, "job", "jobs"), of, short(x.Text)), ": ")
	}).result("no job is open or failed at the quiet point")
}

func sessionsAccepted(j *judging) result {
	a := j.ask(evidence.CheckSessions, sorted(j.run.Service.Sessions), func(of string, x *evidence.Finding) string {
		return fmt.Sprintf("%s of %s kept values of %s from before are refused", number(x.Bad), number(x.Checked), of)
	})
	if a.asked > 0 && a.checked == 0 {
		a.open = append(a.open, "no user had a kept value from before")
	}
	return a.result(fmt.Sprintf("%s accepted", count(a.checked, "kept value from before was", "kept values from before were")))
}

func dependantsWork(j *judging) result {
	var wanted []string
	for _, d := range j.run.Dependants {
		wanted = append(wanted, d.Name)
	}
	for _, p := range j.run.Promises {
		if p.Check == DependantsWork && p.Of != "" && !has(wanted, p.Of) {
			wanted = append(wanted, p.Of)
		}
	}
	return j.ask(evidence.CheckDependants, sorted(wanted), func(of string, x *evidence.Finding) string {
		return strings.TrimSuffix(fmt.Sprintf("%s: %s of %s journeys failed: %s", of, number(x.Bad), number(x.Checked), short(cmp.Or(x.Text, x.Error))), ": ")
	}).result(list(sorted(wanted), 3) + " " + plural(len(wanted), "works", "work"))
}

func nothingLeft(j *judging) result {
	return j.ask(evidence.CheckLeftovers, j.run.Nodes, func(of string, x *evidence.Finding) string {
		return strings.TrimSuffix(fmt.Sprintf("%s: %s left: %s", of, count(x.Bad, "thing is", "things are"), short(cmp.Or(x.Text, strings.Join(x.Rows, ", ")))), ": ")
	}).result("nothing is there that was not there before")
}
