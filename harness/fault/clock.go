package fault

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"time"

	"backout/harness/evidence"
	"backout/harness/service"
)

// clockOff is how far a clock may be from what it should be: asking takes time on a busy machine.
const clockOff = 0.5

// headerOff is by how much a Date header is off: it has no fractions.
const headerOff = 1.0

// skewed sets the clock of a node or an instance off.
type skewed struct {
	World
	name string
	by   time.Duration
}

func clock() Kind {
	return Kind{
		Name: "clock", Forms: []Form{
			{Text: "the clock of {target} is {n} seconds ahead", Unit: 1},
			{Text: "the clock of {target} is {n} seconds behind", Unit: -1},
		},
		On: machines(), Needs: "set the clock of one node or instance alone off",
		Can: func(p Place) bool { return p.Skew != nil },
		Refuses: func(d evidence.DeclaredFault, on string) string {
			may := clockOff
			if on == OnInstance {
				may += headerOff
			}
			if math.Abs(d.Seconds) <= 2*may {
				return fmt.Sprintf("expected more than %g s, which can be told from a slow answer", 2*may)
			}
			return ""
		},
		New: func(w World, d evidence.DeclaredFault) Fault { return skewed{w, d.Of, duration(d.Seconds)} },
	}
}

func (f skewed) Inject(ctx context.Context) error { return f.Place.Skew(ctx, f.name, f.by) }
func (f skewed) Lift(ctx context.Context) error   { return f.Place.Skew(ctx, f.name, 0) }

func (f skewed) InForce(ctx context.Context) (string, bool, error) {
	return f.off(ctx, f.by.Seconds())
}

func (f skewed) Gone(ctx context.Context) (string, bool, error) { return f.off(ctx, 0) }

// off asks for the time there and says whether it is that far from ours. An instance tells it in the Date header of any answer.
func (f skewed) off(ctx context.Context, want float64) (string, bool, error) {
	var theirs float64
	var err error
	may := clockOff
	before := time.Now()
	if url := f.instance(); url != "" {
		may += headerOff
		theirs, err = date(ctx, url)
	} else {
		err = f.ask(ctx, f.name, `select extract(epoch from clock_timestamp())::float8`, &theirs)
	}
	if err != nil {
		return "", false, err
	}
	ours := before.Add(time.Since(before) / 2)
	off := theirs - float64(ours.UnixNano())/1e9
	return fmt.Sprintf("the clock of %s is off by %.2f s", f.name, off), math.Abs(off-want) < may, nil
}

// instance is the URL of the instance; empty: it is a node.
func (f skewed) instance() string {
	for _, i := range f.Instances() {
		if i.Name == f.name {
			return i.URL
		}
	}
	return ""
}

// date is the time that a server says in its answer, in seconds since 1970, in the middle of the second that it names.
func date(ctx context.Context, url string) (float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/", nil)
	if err != nil {
		return 0, err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: service.DialHere}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	t, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return 0, fmt.Errorf("%s: expected a Date header in an answer, by which its clock is seen, found %q", url, resp.Header.Get("Date"))
	}
	return float64(t.Unix()) + 0.5, nil
}
