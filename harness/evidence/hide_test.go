package evidence

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestHiddenStringsAreInNoLineInNoForm(t *testing.T) {
	const secret = `p"w<é&\/ 1?`
	key := "-----BEGIN KEY-----\nbG9uZyBsaW5lIG9mIGtleQ==\nshort\n-----END KEY-----\n"
	inner, err := json.Marshal(map[string]string{"password": secret})
	if err != nil {
		t.Fatal(err)
	}
	l, path := create(t)
	l.Put(&Message{Text: "before it was a secret: " + secret})
	l.Hide(secret, "", key, "7")
	var tapped []Event
	l.Tap(func(e Event) { tapped = append(tapped, e) })
	for _, text := range []string{
		"plain " + secret + " text",
		string(inner),
		"postgres://shop:p%22w%3C%C3%A9&%5C%2F%201%3F@127.0.0.1/shop",
		"query p%22w%3C%C3%A9%26%5C%2F+1%3F",
		"bG9uZyBsaW5lIG9mIGtleQ==",
	} {
		l.Put(&Step{Part: PartStep, Index: 17, Event: "output", Output: text})
		if clean := l.Clean(text); !strings.Contains(clean, mask) {
			t.Errorf("%q is not clean", clean)
		}
	}
	l.Put(&Step{Part: PartStep, Index: 7, Name: "step 7 of 7", Event: "started"})
	l.Put(&Pod{Name: "shop-1", Event: PodFailing, Reason: "ErrImagePull: " + secret})
	l.Put(&End{How: "complete"})
	closeLog(t, l)
	events, err := readAll(path)
	if err != nil {
		t.Fatal(err)
	}
	if events[0].Message.Text != "before it was a secret: "+secret {
		t.Errorf("an earlier event was changed: %q", events[0].Message.Text)
	}
	for i, e := range events[1:6] {
		if o := e.Step.Output; !strings.Contains(o, mask) || strings.Contains(o, "p%22") || strings.Contains(o, `p"w`) || strings.Contains(o, `p\"w`) || strings.Contains(o, "bG9u") {
			t.Errorf("output %q", o)
		}
		if tapped[i].Step.Output != e.Step.Output || e.Step.Index != 17 {
			t.Errorf("tapped %+v, read %+v", tapped[i].Step, e.Step)
		}
	}
	if s := events[6].Step; s.Index != 7 || s.Name != "step [secret] of [secret]" {
		t.Errorf("a short secret broke the line: %+v", s)
	}
	if p := events[7].Pod; p.Reason != "ErrImagePull: "+mask {
		t.Errorf("a pod tells a secret: %q", p.Reason)
	}
}
