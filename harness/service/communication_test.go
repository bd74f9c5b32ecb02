package service

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"backout/harness/evidence"
)

const tells = whole + `stubs: {chat: {routes: {POST /messages: {key: $.message}}}, deaf: {routes: {GET /: {}}}}
communication:
  channels: {status: [{env: STATUS_URL}], stakeholders: [{file: ./secrets/chat}, {stub: chat}]}
  updates: 10m
  handoff: {to: ada, within: 1h}
`

// What the plan states comes before what the service states, and that before the template's.
func TestWhomToTell(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, service, plan string
		want                Communication
	}{
		{"the template", whole, plan, Communication{Channels: map[string][]Transport{}, FirstNotice: 5 * time.Minute, Updates: 5 * time.Minute,
			Stable: 15 * time.Minute, TellFirst: TellAtOnce, AllClear: AllClearWhenDone, Accepts: 30 * time.Minute}},
		{"the service", tells, plan, Communication{Channels: map[string][]Transport{ChannelStatus: {{Env: "STATUS_URL"}},
			ChannelStakeholders: {{File: "./secrets/chat"}, {Stub: "chat"}}}, FirstNotice: 5 * time.Minute, Updates: 10 * time.Minute,
			Stable: 15 * time.Minute, TellFirst: TellAtOnce, AllClear: AllClearWhenDone, Receiver: "ada", Accepts: time.Hour}},
		{"the plan", tells, plan + "communication: {channels: {stakeholders: []}, first_notice: 1m, stable: 1h, tell_first: after the last step, all_clear: after the last step, handoff: {to: grace}}\n",
			Communication{Channels: map[string][]Transport{ChannelStatus: {{Env: "STATUS_URL"}}}, FirstNotice: time.Minute, Updates: 10 * time.Minute,
				Stable: time.Hour, TellFirst: TellAfterSteps, AllClear: TellAfterSteps, Receiver: "grace", Accepts: time.Hour}},
	} {
		s := load(t, map[string]string{"service.yaml": c.service, "releases/v2/rollback.yaml": c.plan})
		r, err := s.Release("v2")
		if err != nil {
			t.Fatal(err)
		}
		p, err := r.Plan("", "process")
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Told(); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: expected %+v, found %+v", c.name, c.want, got)
		}
		for kind, text := range map[string]string{"service": c.service, "plan": c.plan} {
			if err := validate(t, compiled(t, kind), []byte(text)); err != nil {
				t.Errorf("%s: the schema of %s: %v", c.name, kind, err)
			}
		}
	}
}

func TestMistakesInWhomToTellAreTold(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ from, to, err string }{
		{"{stub: chat}", "{stub: chatt}", `:60:89: expected a stub of service.yaml in stub, found "chatt"; did you mean "chat"?`},
		{"{stub: chat}", "{stub: deaf}", `expected a route of the stub deaf that takes messages, such as POST /messages: {key: $.message}, found none`},
		{"{stub: chat}", "'slack://hook:token@webhook'", `expected {file: FILE} or {env: VARIABLE} in stakeholders, since a URL that reaches people is a secret, found a text`},
		{"{stub: chat}", "{stub: chat, env: CHAT}", `expected exactly one of file, env, stub in stakeholders, item 2, found env, stub`},
		{"{env: STATUS_URL}", "{env: 'generic://host'}", `expected the name of a variable in env, found "generic://host"`},
		{"channels: {status:", "channels: {staus:", `expected one of status, stakeholders in channels, found "staus"; did you mean "status"?`},
		{"updates: 10m", "updates: often", `expected a duration`},
		{"updates: 10m", "all_clear: soon", `expected one of when nothing is open, after the last step in all_clear, found "soon"`},
		{"handoff: {to: ada, within: 1h}", "handoff: {within: 1h}", `expected "to" in handoff, found none: who takes the incident over`},
	} {
		text := strings.Replace(tells, c.from, c.to, 1)
		if text == tells {
			t.Fatalf("%q is not there", c.from)
		}
		_, err := Load(folder(t, map[string]string{"service.yaml": text}) + "/service.yaml")
		if err == nil || !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: expected %s, found %v", c.to, c.err, err)
		}
	}
}

// A drill waits as much shorter as its stability is shorter than the template's; a run in earnest not at all.
func TestIntervalsAreShortened(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		stability, times float64
	}{{10, 90}, {60, 15}, {900, 1}, {3600, 1}, {0, 1}} {
		got := Communication{Updates: 5 * time.Minute, Channels: map[string][]Transport{ChannelStatus: {{Env: "A"}}}}.Evidence(c.stability)
		if got.Shortened != c.times || got.Updates != 300 || !reflect.DeepEqual(got.Transports, []evidence.Transport{{Channel: ChannelStatus, Name: "A"}}) {
			t.Errorf("stable for %g s: expected %g times shorter, found %+v", c.stability, c.times, got)
		}
	}
}
