//! How things stand: the cooldown at a site, which keys may be leased because of them, and where anything cools.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use fixedbitset::FixedBitSet;

use super::{Cooldown, Cooldowns};
use crate::ids::{KeyIx, Model, ProjectIx, Site};
use crate::members::Members;
use crate::quota::NamedQuota;
use crate::tool::Tool;

impl Cooldowns {
    pub(crate) fn get(&self, site: &Site) -> Option<&Cooldown> {
        match site {
            Site::Key(key) => self.keys.get(key.position()),
            Site::Project(project) => self.projects.get(project.position()),
            Site::Model(project, model) => self.of_model(*project, model),
            Site::Tool(project, tool) => self.of_tool(*project, *tool),
        }
    }

    pub(crate) fn of_key(&self, key: KeyIx) -> &Cooldown {
        &self.keys[key.position()]
    }

    pub(crate) fn of_project(&self, project: ProjectIx) -> &Cooldown {
        &self.projects[project.position()]
    }

    pub(crate) fn of_model(&self, project: ProjectIx, model: &Model) -> Option<&Cooldown> {
        self.troubles.get(model)?.cooldowns.get(&project)
    }

    pub(crate) fn of_tool(&self, project: ProjectIx, tool: Tool) -> Option<&Cooldown> {
        self.tools[tool as usize].cooldowns.get(&project)
    }

    /// Returns the quota for which a model cools on a project, if it does and a refusal named it.
    pub(crate) fn quota_of(&self, project: ProjectIx, model: &Model) -> Option<&Arc<NamedQuota>> {
        let trouble = self.troubles.get(model)?;
        let cools = matches!(trouble.cooldowns.get(&project), Some(Cooldown::Cooling { .. }));
        trouble.quotas.get(&project).filter(|_| cools)
    }

    /// Returns the keys that may be leased, but for the troubles of models and tools.
    pub(crate) fn ready(&self) -> &FixedBitSet {
        &self.ready
    }

    /// Returns the keys that may not be leased for this model, if it is in trouble.
    pub(crate) fn blocked(&self, model: &Model) -> Option<&FixedBitSet> {
        self.troubles.get(model).map(|trouble| &trouble.blocked)
    }

    /// Returns the keys that may not be leased for this tool.
    pub(crate) fn blocked_tool(&self, tool: Tool) -> &FixedBitSet {
        &self.tools[tool as usize].blocked
    }

    pub(crate) fn is_disabled(&self, key: KeyIx) -> bool {
        self.disabled.contains(key.position())
    }

    /// Returns since when the operator has disabled a key, if that is so and known.
    pub(crate) fn disabled_since(&self, key: KeyIx) -> Option<DateTime<Utc>> {
        self.disabled_since[key.position()].filter(|_| self.is_disabled(key))
    }

    /// Returns since when a key by itself, or a project, stands as it does, where that is known.
    pub(crate) fn stands_since(&self, site: &Site) -> Option<DateTime<Utc>> {
        let (standing, cooldown) = match site {
            Site::Key(key) => (self.key_standings[key.position()], self.of_key(*key)),
            Site::Project(project) => {
                (*self.project_standings.get(project.position())?, self.of_project(*project))
            }
            Site::Model(..) | Site::Tool(..) => return None,
        };
        standing.since(cooldown)
    }

    /// Returns each tool in trouble on this project.
    pub(crate) fn tools_of(&self, project: ProjectIx) -> impl Iterator<Item = (Tool, &Cooldown)> {
        Tool::ALL.into_iter().filter_map(move |tool| Some((tool, self.of_tool(project, tool)?)))
    }

    /// Returns each model in trouble on this project.
    pub(crate) fn models_of(&self, project: ProjectIx) -> impl Iterator<Item = (&Model, &Cooldown)> {
        self.troubles
            .iter()
            .filter_map(move |(model, trouble)| Some((model, trouble.cooldowns.get(&project)?)))
    }

    /// Returns where models and tools cool, on any project.
    pub(crate) fn parts(&self) -> impl Iterator<Item = Site> + '_ {
        let models = self.troubles.iter().flat_map(|(model, trouble)| {
            trouble.cooldowns.keys().map(|project| Site::Model(*project, model.clone()))
        });
        let tools = Tool::ALL.into_iter().flat_map(|tool| {
            self.tools[tool as usize].cooldowns.keys().map(move |project| Site::Tool(*project, tool))
        });
        models.chain(tools)
    }

    /// Returns all sites: each key, each project, and where models and tools cool.
    pub(super) fn sites(&self, members: &Members) -> Vec<Site> {
        let keys = members.iter().map(|(key, _)| Site::Key(key));
        keys.chain(members.projects().map(Site::Project)).chain(self.parts()).collect()
    }

    /// Returns where a model cools.
    pub(crate) fn sites_of_model(&self, model: &Model) -> Vec<Site> {
        let projects = self.troubles.get(model).into_iter().flat_map(|trouble| trouble.cooldowns.keys());
        projects.map(|project| Site::Model(*project, model.clone())).collect()
    }

    /// Returns where a project cools, itself or in part.
    pub(crate) fn sites_of(&self, project: ProjectIx) -> Vec<Site> {
        let mut sites = Vec::new();
        if !self.of_project(project).is_open() {
            sites.push(Site::Project(project));
        }
        sites.extend(self.models_of(project).map(|(model, _)| Site::Model(project, model.clone())));
        sites.extend(self.tools_of(project).map(|(tool, _)| Site::Tool(project, tool)));
        sites
    }
}
