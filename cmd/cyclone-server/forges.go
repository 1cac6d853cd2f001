package main

import (
	"maps"
	"time"

	"cyclone/pkg/connect"
	"cyclone/pkg/cyclone"
	"cyclone/pkg/notify/forge"
	"cyclone/pkg/scm/git"
	"cyclone/pkg/scm/gitea"
	"cyclone/pkg/scm/github"
	"cyclone/pkg/scm/gitlab"
	"cyclone/pkg/scm/svn"
	"cyclone/pkg/trigger"
)

// hookDrivers understand what forges send.
func hookDrivers() map[string]cyclone.Forge {
	return map[string]cyclone.Forge{"github": github.Forge{}, "gitlab": gitlab.Forge{}, "gitea": gitea.Forge{}, "svn": svn.Forge{}}
}

// withPolled adds the driver for what nobody sends: polling writes it.
func withPolled(sent map[string]cyclone.Forge) map[string]cyclone.Forge {
	all := maps.Clone(sent)
	all[cyclone.SCMPoll] = trigger.Polled{}
	return all
}

// connector is what knows the forges' APIs and the projects' credentials.
func (r *rooms) connector(st *stores, in *installation) *connect.Connector {
	return &connect.Connector{
		Projects: st.projects, Secrets: st.secrets, Marks: st.marks, Sealer: in.sealer,
		Drivers:     map[string]connect.Driver{"github": &github.API{}, "gitlab": &gitlab.API{}, "gitea": &gitea.API{}},
		Heads:       map[string]cyclone.HeadReader{"git": &git.Cloner{}, "svn": &svn.Cloner{}},
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
