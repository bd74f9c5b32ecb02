@control @kubernetes @gate
Feature: Control: manifests in an API version that the cluster has lost

  Manifests were kept for the day of a rollback. The cluster was upgraded since, and does not know one of their API
  versions any more. The others are applied, and the command ends with an error.

  Background:
    Given the service "stand"
    And 40 journeys per second by 20 users

  Scenario: One of the manifests cannot be applied
    When release "v2-misprints" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "manifests-of-last-year"
    Then the drill fails because "the plan ran as written"
