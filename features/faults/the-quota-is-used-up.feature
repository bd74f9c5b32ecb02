@faults @kubernetes @gate
Feature: Rolling back while the quota is used up

  The namespace may have no pod more than it has. A rollout that brings a new pod before it takes an old one never gets anywhere.

  Background:
    Given the service "stand"
    And 40 journeys per second by 20 users

  Scenario: The rollback makes room first
    When release "v2-misprints" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "makes-room"
    And the quota of pods is used up while it is rolled back
    Then service is restored within 5 minutes
    And every instance serves the target release
