package rollback

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/nicholas-fedor/shoutrrr"
	"github.com/nicholas-fedor/shoutrrr/pkg/router"

	"backout/harness/service"
)

// Transport is one way to reach the people of a channel.
type Transport struct {
	Channel string
	Name    string // holds no secret
	Stub    string // a stub of the service: URL is what the environment says; empty: people
	URL     string // of shoutrrr; secret
}

// Transports reads where the channels lead. Nothing is sent. A host that is not this machine must stand in service.yaml's
// `allow`, so that nobody is paged by accident. The second value is what must be hidden.
func Transports(c service.Communication, s *service.Service) (all []Transport, hide []string, err error) {
	var wrong []error
	for _, channel := range []string{service.ChannelStatus, service.ChannelStakeholders} {
		for _, t := range c.Channels[channel] {
			at, err := transportURL(t, s)
			if err != nil {
				wrong = append(wrong, fmt.Errorf("%s: communication: %s: %w", s.Path, channel, err))
				continue
			}
			if t.Stub == "" {
				hide = append(hide, secretsOf(at)...)
			}
			all = append(all, Transport{Channel: channel, Name: t.Name(), Stub: t.Stub, URL: at})
		}
	}
	return all, hide, errors.Join(wrong...)
}

func transportURL(t service.Transport, s *service.Service) (string, error) {
	var text string
	switch {
	case t.Stub != "":
		return "", nil
	case t.Env != "":
		if text = os.Getenv(t.Env); text == "" {
			return "", fmt.Errorf("expected a URL in the variable %s of the environment, found none: set it", t.Env)
		}
	default:
		path := t.File
		if !filepath.IsAbs(path) {
			path = filepath.Join(s.Dir, path)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		text = strings.TrimSpace(string(b))
	}
	host, err := hostOf(text)
	if err != nil {
		return "", fmt.Errorf("%s: %w", t.Name(), err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) && !slices.Contains(s.Allow, host) {
		return "", fmt.Errorf("%s leads to %s: expected this machine, so that nobody is paged by accident; name the host under `allow` in %s if that is meant", t.Name(), host, s.Path)
	}
	if _, err := shoutrrr.CreateSender(text); err != nil { // its text holds the URL
		return "", fmt.Errorf("%s: expected a URL that shoutrrr takes, such as slack://hook:TOKEN@webhook, found one that it does not", t.Name())
	}
	return text, nil
}

// Where messages go, by the scheme of shoutrrr. Of those in atHost the URL names the server, or nothing for the one that is
// stated; the others have one server each. Source: the services of shoutrrr 0.13. What is in neither is not sent to, since
// nobody could say where that is.
var (
	atHost = map[string]string{"bark": "", "generic": "", "googlechat": "", "gotify": "", "hangouts": "", "lark": "open.larksuite.com", "matrix": "", "mattermost": "",
		"ntfy": "ntfy.sh", "opsgenie": "api.opsgenie.com", "pagerduty": "events.pagerduty.com", "rocketchat": "", "signal": "localhost", "smtp": "", "zulip": ""}
	fixed = map[string]string{"discord": "discord.com", "ifttt": "maker.ifttt.com", "join": "joinjoaomgcd.appspot.com", "notifiarr": "notifiarr.com",
		"pushbullet": "api.pushbullet.com", "pushover": "api.pushover.net", "telegram": "api.telegram.org", "wecom": "qyapi.weixin.qq.com"}
)

// hostOf is the host to which a URL of shoutrrr leads. The error holds nothing of the URL.
func hostOf(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil {
		return "", errors.New("expected a URL, found something else")
	}
	scheme, _, _ := strings.Cut(strings.ToLower(u.Scheme), "+")
	elsewhere := ""
	for key, values := range u.Query() {
		if strings.EqualFold(key, "host") && len(values) > 0 {
			elsewhere = values[0]
		}
	}
	host, named := atHost[scheme]
	switch {
	case scheme == "slack" && u.User != nil && u.User.Username() == "hook":
		return "hooks.slack.com", nil
	case scheme == "slack":
		return "slack.com", nil
	case scheme == "teams" && elsewhere != "":
		return elsewhere, nil
	case fixed[scheme] != "":
		return fixed[scheme], nil
	case scheme == "signal" && elsewhere != "":
		return elsewhere, nil
	case named && u.Hostname() != "":
		return u.Hostname(), nil
	case named && host != "":
		return host, nil
	}
	return "", errors.New("expected a URL of shoutrrr that says which host gets the message, found none")
}

// secretsOf is what must not be seen of a URL: the whole of it, its password, and what is long enough to be a token.
func secretsOf(text string) []string {
	all := []string{text}
	u, err := url.Parse(text)
	if err != nil {
		return all
	}
	if u.User != nil {
		if password, has := u.User.Password(); has {
			all = append(all, password)
		}
		all = append(all, tokens(u.User.Username())...)
	}
	for part := range strings.SplitSeq(u.Path, "/") {
		all = append(all, tokens(part)...)
	}
	for _, values := range u.Query() {
		for _, v := range values {
			all = append(all, tokens(v)...)
		}
	}
	if scheme, _, _ := strings.Cut(u.Scheme, "+"); fixed[scheme] != "" {
		all = append(all, tokens(u.Host)...) // an id, and no host
	}
	return slices.DeleteFunc(all, func(s string) bool { return s == "" })
}

// tokens is a part of a URL that is more than a word: it has a digit or a capital, and at least eight letters.
func tokens(part string) []string {
	if len(part) < 8 || !strings.ContainsAny(part, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		return nil
	}
	return []string{part}
}

// ToStub is the transport with the URL of its stub, which the environment has started at base.
func (t Transport) ToStub(base string, stub service.Stub) (Transport, error) {
	at, err := stubURL(base, stub)
	if err != nil {
		return t, fmt.Errorf("%s by %s: %w", t.Channel, t.Name, err)
	}
	t.URL = at
	return t, nil
}

// stubURL is how shoutrrr posts to the route of a stub: {"message": TEXT}.
func stubURL(base string, stub service.Stub) (string, error) {
	u, err := url.Parse(base)
	if err != nil {
		return "", err
	}
	route, takes := stub.MessageRoute()
	if !takes {
		return "", errors.New("the stub takes no messages")
	}
	return (&url.URL{Scheme: "generic", Host: u.Host, Path: route.Path, RawQuery: "disabletls=yes&template=JSON"}).String(), nil
}

// sender sends by shoutrrr. It has no context, so a receiver that hangs keeps a goroutine until it lets go or the harness
// ends; who waits for it does so for sendWithin.
func sender(at string) (func(text string) error, error) {
	r, err := shoutrrr.CreateSender(at)
	if err != nil {
		return nil, err
	}
	r.Timeout = sendWithin
	return func(text string) error { return sent(r, text) }, nil
}

// address is a URL in what a library says: what it posts to is made of what is secret.
var address = regexp.MustCompile(`[a-z][a-z0-9+.-]*://[^\s"']*`)

func sent(r *router.ServiceRouter, text string) error {
	err := errors.Join(r.Send(text, nil)...)
	if err == nil {
		return nil
	}
	return errors.New(address.ReplaceAllString(err.Error(), "its URL"))
}
