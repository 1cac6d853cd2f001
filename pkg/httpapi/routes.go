package httpapi

import "net/http"

// Access says who may use a route.
type Access string

// The kinds of access.
const (
	Open   Access = "open"   // anybody; hooks are signed
	User   Access = "user"   // any token
	Admin  Access = "admin"  // an administrator's token
	Socket Access = "socket" // any token, also as a subprotocol; the Origin is checked
	Worker Access = "worker" // a worker's one-time token
)

// Route is one line of the table of everything that may be asked for.
type Route struct {
	Method string
	Path   string
	Access Access
	// Query are the names that the query may hold; any other is refused.
	Query []string

	handle handler
}

// handler answers a request, or returns why it cannot.
type handler func(w http.ResponseWriter, r *http.Request) error

var (
	pageQuery   = []string{"limit", "cursor"}
	eventsQuery = []string{"status", "branch", "kind", "since", "until", "limit", "cursor"}
	logQuery    = []string{"stage", "step", "from", "tail", "timestamps"}
)

// Routes is the table of all routes.
func (s *Server) Routes() []Route {
	const (
		v1      = "/api/v1"
		project = v1 + "/projects/{project}"
		event   = v1 + "/events/{event}"
		cluster = v1 + "/clusters/{cluster}"
		node    = v1 + "/nodes/{node}"
	)
	return append(s.forgeRoutes(), []Route{
		{"GET", "/healthz", Open, nil, s.health},
		{"GET", "/readyz", Open, nil, s.readiness},
		{"GET", "/docs", Open, nil, s.docs},
		{"GET", "/metrics", User, nil, s.showMetrics},
		{"GET", v1 + "/version", User, nil, s.version},
		{"GET", v1 + "/openapi.json", User, nil, s.openAPI},
		{"GET", v1 + "/caicloud.schema.json", Open, nil, s.pipelineSchema},
		{"GET", v1 + "/me", User, nil, s.me},
		{"GET", v1 + "/workers", User, pageQuery, s.workers},
		{"POST", v1 + "/lint", User, nil, s.lint},
		{"POST", v1 + "/retention", Admin, []string{"dryRun"}, s.applyRetention},

		{"GET", v1 + "/nodes", User, pageQuery, s.listNodes},
		{"GET", node, User, nil, s.showNode},
		{"PATCH", node, Admin, nil, s.patchNode},
		{"DELETE", node, Admin, nil, s.deleteNode},

		{"GET", v1 + "/projects", User, pageQuery, s.listProjects},
		{"POST", v1 + "/projects", User, nil, s.createProject},
		{"GET", project, User, nil, s.showProject},
		{"PUT", project, User, nil, s.replaceProject},
		{"PATCH", project, User, nil, s.patchProject},
		{"DELETE", project, User, nil, s.deleteProject},

		{"GET", project + "/cache", User, pageQuery, s.showCache},
		{"DELETE", project + "/cache", User, nil, s.clearCache},

		{"GET", project + "/secrets", User, pageQuery, s.listSecrets},
		{"GET", project + "/secrets/{secret}", User, nil, s.showSecret},
		{"PUT", project + "/secrets/{secret}", User, nil, s.putSecret},
		{"DELETE", project + "/secrets/{secret}", User, nil, s.deleteSecret},

		{"GET", v1 + "/clusters", User, pageQuery, s.listClusters},
		{"POST", v1 + "/clusters", Admin, nil, s.createCluster},
		{"GET", cluster, User, nil, s.showCluster},
		{"PATCH", cluster, Admin, nil, s.patchCluster},
		{"DELETE", cluster, Admin, nil, s.deleteCluster},
		{"POST", cluster + "/check", Admin, nil, s.checkCluster},

		{"POST", v1 + "/hooks/{scm}/{project}", Open, nil, s.receiveHook},
		{"GET", project + "/deliveries", User, pageQuery, s.listDeliveries},
		{"GET", project + "/deliveries/{delivery}", User, nil, s.showDelivery},
		{"POST", project + "/deliveries/{delivery}/redeliver", User, nil, s.redeliver},

		{"GET", project + "/events", User, eventsQuery, s.listProjectEvents},
		{"POST", project + "/events", User, nil, s.startEvent},
		{"GET", v1 + "/events", User, eventsQuery, s.listEvents},
		{"GET", event, User, nil, s.showEvent},
		{"POST", event + "/cancel", User, nil, s.cancelEvent},
		{"POST", event + "/rerun", User, nil, s.rerunEvent},
		{"POST", event + "/approve", User, nil, s.approveEvent},
		{"GET", event + "/artifacts", User, pageQuery, s.listArtifacts},
		{"GET", event + "/artifacts/{path}", User, nil, s.showArtifact},
		{"GET", event + "/reports", User, []string{"status"}, s.showReports},
		{"GET", event + "/logs", User, logQuery, s.showLog},
		{"GET", event + "/logs/stream", Socket, []string{"from", "tail"}, s.streamLog},

		{"GET", v1 + "/workers/{worker}/connect", Worker, nil, s.connectWorker},
		{"PUT", v1 + "/workers/{worker}/files/{kind}/{path}", Worker, []string{"stage", "step"}, s.putFile},
		{"GET", v1 + "/workers/{worker}/files/{kind}/{path}", Worker, nil, s.takeOverFile},
	}...)
}

// forgeRoutes are those about what projects are connected to.
func (s *Server) forgeRoutes() []Route {
	const (
		connection = "/api/v1/projects/{project}/connection"
		accounts   = "/api/v1/scm/accounts"
		scm        = "/api/v1/scm/{scm}"
	)
	return []Route{
		{"GET", connection, User, nil, s.showConnection},
		{"POST", connection, User, nil, s.connectProject},
		{"DELETE", connection, User, nil, s.disconnectProject},

		{"GET", scm + "/repositories", User, repositoriesQuery, s.listRepositories},
		{"GET", scm + "/branches", User, refsQuery, s.listBranches},
		{"GET", scm + "/tags", User, refsQuery, s.listTags},
		{"POST", scm + "/login", User, nil, s.beginLogin},
		{"GET", scm + "/callback", Open, callbackQuery, s.askLogin},
		{"POST", scm + "/callback", Open, nil, s.finishLogin},
		{"GET", accounts, User, pageQuery, s.listAccounts},
		{"DELETE", accounts + "/{account}", User, nil, s.deleteAccount},
	}
}
