package report

import (
	"cmp"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"unicode"

	"backout/harness/verdict"
)

// The page of a job on GitHub takes 1 MiB, and drops the whole of what is longer
// (https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands#step-isolation-and-limits).
const (
	maxSummary  = 900 << 10
	maxSentence = 2000 // of one sentence, in characters
	maxPromises = 60   // of one run that are told
)

// Markdown writes summary.md of one run, short enough for the page of a CI job.
func Markdown(w io.Writer, m *Model) error {
	var b strings.Builder
	m.Entry(".").markdown(&b, "#")
	fmt.Fprintf(&b, "\n## Timeline\n\nA full bar: every journey of that time succeeded. A point: none was due.\n\n%s\n", fenced(m.picture()))
	m.transcript(&b)
	_, err := io.WriteString(w, text(b.String()))
	return err
}

// SetMarkdown writes summary.md over all runs of a set: a table, and below it what did not pass.
func SetMarkdown(w io.Writer, s Set) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n%s\n\n", md(cmp.Or(s.Name, "Rollback drills")), s.says())
	b.WriteString("| Result | Drill | Restored after | Promises kept | Because |\n|---|---|---:|---:|---|\n")
	for i, e := range s.Runs {
		if b.Len() > maxSummary/2 {
			fmt.Fprintf(&b, "| | %s in index.html | | | |\n", many(len(s.Runs)-i, "more drill", "more drills"))
			break
		}
		name := md(short(e.title(), 300))
		if e.Dir != "" {
			name = fmt.Sprintf("[%s](%s)", name, link(path.Join(e.Dir, "report.html")))
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", e.result().Word, name, e.speed(), e.kept(), md(short(e.because(), 600)))
	}
	s.Kills().markdown(&b)
	left := 0
	for _, e := range s.Runs {
		if e.result().Class == "is-broken" || e.result().Class == "is-unknown" {
			var one strings.Builder
			if left == 0 {
				e.markdown(&one, "##")
			}
			if left > 0 || b.Len()+one.Len() > maxSummary {
				left++
				continue
			}
			b.WriteString("\n" + one.String())
		}
	}
	if left > 0 {
		fmt.Fprintf(&b, "\n%s without pass is left out here; see index.html.\n", many(left, "more drill", "more drills"))
	}
	_, err := io.WriteString(w, text(b.String()))
	return err
}

func (e Entry) markdown(b *strings.Builder, heading string) {
	v := e.Verdict
	fmt.Fprintf(b, "%s %s: %s\n\n", heading, e.result().Word, md(e.title()))
	fmt.Fprintf(b, "%s\n\n", md(e.because()))
	if e.Broke != "" || e.NotApplicable != "" {
		return
	}
	if v.Expected != nil && v.ExpectedWhy != "" && v.ExpectedWhy != e.because() {
		fmt.Fprintf(b, "%s\n\n", md(v.ExpectedWhy))
	}
	b.WriteString("| Restored after | Users served after | Silence | Promises kept | Writes kept | Replicas at the target |\n|---:|---:|---:|---:|---:|---:|\n")
	silence, users := absent(v), absent(v)
	if v.Silence != nil {
		silence = seconds(*v.Silence)
	}
	if len(e.Run.Service.Journeys) == 0 {
		users = "nobody uses it"
	} else if v.Speed.Users != nil {
		users = seconds(*v.Speed.Users)
	}
	fmt.Fprintf(b, "| %s | %s | %s | %s | %s of %s | %s of %s |\n", e.speed(), users, silence, e.kept(),
		count(v.Shares.Writes[0]), count(v.Shares.Writes[1]), count(v.Shares.Replicas[0]), count(v.Shares.Replicas[1]))
	if late := stragglers(v); len(late) > 0 {
		fmt.Fprintf(b, "\nStragglers: %s\n", md(strings.Join(late, "; ")+"."+lastBad(v)))
	}
	if rows := syncs(v, decided(v)); len(rows) > 0 {
		fmt.Fprintf(b, "\n| Commit | Service | Arrived | %s | Because |\n|---|---|---:|---:|---:|---:|---:|---|\n", strings.Join(syncColumns, " | "))
		for _, r := range rows {
			fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s |\n", r.Revision, md(r.Service), r.At, strings.Join(r.Times, " | "), md(r.Why))
		}
	}
	for _, a := range v.Assumptions {
		if !a.Held {
			fmt.Fprintf(b, "\n- **did not hold: %s** %s%s\n", md(a.Name), md(a.Finding), cites(a.Evidence))
		}
	}
	told := 0
	for _, p := range promises(v) {
		if p.State == verdict.Kept || p.State == verdict.NotApplicable {
			continue
		}
		if told++; told > maxPromises {
			b.WriteString("\n- and more, in report.html\n")
			break
		}
		fmt.Fprintf(b, "\n- **%s: %s**\n  %s%s\n", p.State, md(p.Name), md(p.Finding), cites(p.Evidence))
		details := slices.Concat(p.Details, p.More)
		for i, d := range details {
			if i == 5 {
				fmt.Fprintf(b, "  - and %d more\n", len(details)-i)
				break
			}
			fmt.Fprintf(b, "  - %s\n", md(d))
		}
		if p.Remedy != "" {
			fmt.Fprintf(b, "\n  Do: %s\n", md(p.Remedy))
		}
	}
	fmt.Fprintf(b, "\nAgain:\n\n%s\n", fenced(short(e.Run.Again, maxSentence)))
	if e.Head != "" {
		fmt.Fprintf(b, "\nHead of the evidence: `%s`\n", strings.ReplaceAll(e.Head, "`", "'"))
	}
}

// cites are the numbers of events as code: bare ones would be links to issues where the text is shown.
func cites(evidence []int64) string {
	var b strings.Builder
	for i, n := range evidence {
		if i == 8 {
			fmt.Fprintf(&b, " and %d more", len(evidence)-i)
			break
		}
		fmt.Fprintf(&b, " `#%d`", n)
	}
	return b.String()
}

// fenced is a block of code with a fence longer than any in it.
func fenced(text string) string {
	fence := "```"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	return fence + "\n" + text + "\n" + fence
}

// md is a text in one line of Markdown, in a table or out of it, with nothing in it that Markdown or HTML would read.
func md(s string) string {
	s = short(strings.Join(strings.Fields(text(short(s, 4*maxSentence))), " "), maxSentence)
	runes := []rune(s)
	word := func(i int) bool {
		return i >= 0 && i < len(runes) && (unicode.IsLetter(runes[i]) || unicode.IsDigit(runes[i]))
	}
	var b strings.Builder
	for i, r := range runes {
		switch {
		case unicode.IsControl(r):
			continue
		case r == '<':
			b.WriteString("&lt;")
			continue
		case r == '&':
			b.WriteString("&amp;")
			continue
		case strings.ContainsRune("\\`*[]|~", r), r == '_' && !(word(i-1) && word(i+1)), i == 0 && strings.ContainsRune("-+#>", r):
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

func link(to string) string {
	return strings.NewReplacer(" ", "%20", "(", "%28", ")", "%29", "<", "%3C", ">", "%3E", "\n", "").Replace(to)
}
