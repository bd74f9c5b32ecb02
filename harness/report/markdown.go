package report

import (
	"cmp"
	"fmt"
	"io"
	"path"
	"strings"
	"unicode"

	"backout/harness/verdict"
)

// Markdown writes summary.md of one run, short enough for the page of a CI job.
func Markdown(w io.Writer, m *Model) error {
	var b strings.Builder
	m.Entry(".").markdown(&b, "#")
	_, err := io.WriteString(w, b.String())
	return err
}

// SetMarkdown writes summary.md over all runs of a set: a table, and below it what did not pass.
func SetMarkdown(w io.Writer, s Set) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n%s\n\n", md(cmp.Or(s.Name, "Rollback drills")), s.says())
	b.WriteString("| Result | Drill | Restored after | Promises kept | Because |\n|---|---|---:|---:|---|\n")
	for _, e := range s.Runs {
		name := md(e.title())
		if e.Dir != "" {
			name = fmt.Sprintf("[%s](%s)", name, link(path.Join(e.Dir, "report.html")))
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", e.result().Word, name, e.speed(), e.kept(), md(e.because()))
	}
	s.Kills().markdown(&b)
	for _, e := range s.Runs {
		if e.result().Class == "is-broken" || e.result().Class == "is-unknown" {
			b.WriteString("\n")
			e.markdown(&b, "##")
		}
	}
	_, err := io.WriteString(w, b.String())
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
	silence, users := "never", "never"
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
			fmt.Fprintf(b, "\n- **did not hold: %s** %s%s\n", md(a.Name), md(a.Finding), numbers(a.Evidence))
		}
	}
	for _, p := range promises(v) {
		if p.State == verdict.Kept || p.State == verdict.NotApplicable {
			continue
		}
		fmt.Fprintf(b, "\n- **%s: %s**\n  %s%s\n", p.State, md(p.Name), md(p.Finding), numbers(p.Evidence))
		for i, d := range p.Details {
			if i == 5 {
				fmt.Fprintf(b, "  - and %d more\n", len(p.Details)-i)
				break
			}
			fmt.Fprintf(b, "  - %s\n", md(d))
		}
		if p.Remedy != "" {
			fmt.Fprintf(b, "\n  Do: %s\n", md(p.Remedy))
		}
	}
	fmt.Fprintf(b, "\nAgain:\n\n%s\n", fenced(e.Run.Again))
	if e.Head != "" {
		fmt.Fprintf(b, "\nHead of the evidence: `%s`\n", strings.ReplaceAll(e.Head, "`", "'"))
	}
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
	s = strings.Join(strings.Fields(s), " ")
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
