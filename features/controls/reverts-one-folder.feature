@control @kubernetes @gitops @gate
Feature: Control: one folder is put back where a commit changed two

  The team that is called puts back its own folder. The other service of the same commit stays as it is.

  Background:
    Given the service "awning"
    And 40 journeys per second by 20 users

  Scenario: The other service stays bad
    When release "v2-new-currency" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "reverts-one-folder"
    Then the drill fails because "dependants still work"
