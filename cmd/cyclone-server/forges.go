package main

import (
	"time"

	"cyclone/pkg/connect"
	"cyclone/pkg/cyclone"
	"cyclone/pkg/notify/forge"
	"cyclone/pkg/scm/git"
	"cyclone/pkg/scm/github"
)

// connector is what knows the forges' APIs and the projects' credentials.
func (r *rooms) connector(st *stores, in *installation) *connect.Connector {
	return &connect.Connector{
		Projects: st.projects, Secrets: st.secrets, Marks: st.marks, Sealer: in.sealer,
		Drivers:     map[string]connect.Driver{"github": &github.API{}},
		Heads:       map[string]cyclone.HeadReader{"git": &git.Cloner{}},
		ExternalURL: r.settings.external(), Apps: r.settings.oauthApps(), Now: time.Now, Log: r.log,
	}
}

// statuses tells forges how far events are.
func (r *rooms) statuses(st *stores, c *connect.Connector) *forge.Notifier {
	drivers := map[string]cyclone.StatusSetter{}
	for scm, driver := range c.Drivers {
		drivers[scm] = driver
	}
	return &forge.Notifier{
		Credentials: c, Drivers: drivers, Events: st.events, EventURL: r.eventURL,
		LogURL: func(e *cyclone.Event) string { return r.eventURL(e) + "/logs" },
	}
}

// oauthApps are the ones that were registered at forges.
func (s *settings) oauthApps() []connect.OAuthApp {
	var apps []connect.OAuthApp
	for scm, a := range map[string]oauthApp{"github": s.githubOAuth, "gitlab": s.gitlabOAuth} {
		if a.id != "" {
			apps = append(apps, connect.OAuthApp{SCM: scm, URL: a.url, ClientID: a.id, ClientSecret: a.secret})
		}
	}
	return apps
}
